# The local cluster: driver, placement, and the supervisor that runs each pod.
libmodel_la_SOURCES += libosmo-core/model/schedule.c libosmo-core/model/schedule_internal.h libosmo-core/model/schedule_evict.c \
	libosmo-core/model/schedule_gangs.c libosmo-core/model/schedule_memory.c libosmo-core/model/schedule_nodes.c libosmo-core/model/schedule_order.c \
	libosmo-core/model/schedule_place.c libosmo-core/model/schedule_queue.c libosmo-core/model/schedule_reason.c
libbackendint_la_SOURCES += libosmo-backend/cluster/local/local.c libosmo-backend/cluster/local/local.h \
	libosmo-backend/cluster/local/local_int.h libosmo-backend/cluster/local/local_env.c libosmo-backend/cluster/local/local_net.c \
	libosmo-backend/cluster/local/local_node.c \
	libosmo-backend/cluster/local/local_place.c libosmo-backend/cluster/local/local_plan.c libosmo-backend/cluster/local/local_pod.c \
	libosmo-backend/cluster/local/local_remove.c libosmo-backend/cluster/local/local_rewrite.c libosmo-backend/cluster/local/local_run.c \
	libosmo-backend/cluster/local/local_store.c libosmo-backend/cluster/local/local_volumes.c libosmo-backend/cluster/place.c libosmo-backend/cluster/place.h \
	libosmo-backend/cluster/place_int.h libosmo-backend/cluster/place_read.c libosmo-backend/cluster/place_unit.c

osmolibexec_PROGRAMS += osmo-pod-supervisor
osmo_pod_supervisor_SOURCES = daemons/osmo-pod-supervisor/main.c daemons/osmo-pod-supervisor/mounts.c daemons/osmo-pod-supervisor/plain.c \
	daemons/osmo-pod-supervisor/plan.c daemons/osmo-pod-supervisor/run.c daemons/osmo-pod-supervisor/sandbox.c \
	daemons/osmo-pod-supervisor/stage.c daemons/osmo-pod-supervisor/holder.c daemons/osmo-pod-supervisor/holder.h \
	daemons/osmo-pod-supervisor/holder_helper.c daemons/osmo-pod-supervisor/holder_nft.c daemons/osmo-pod-supervisor/netlink.c \
	daemons/osmo-pod-supervisor/network.h daemons/osmo-pod-supervisor/pod_net.c daemons/osmo-pod-supervisor/relay.c \
	daemons/osmo-pod-supervisor/resolver.c \
	daemons/osmo-pod-supervisor/status.c daemons/osmo-pod-supervisor/supervisor.h
osmo_pod_supervisor_LDADD = libbase.la $(BASE_EXTERNAL)

unit_tests += tests/unit/test_place tests/unit/test_schedule tests/unit/test_schedule_incremental tests/unit/test_local tests/unit/test_supervisor tests/unit/test_podnet
tests_unit_test_schedule_SOURCES = tests/unit/test_schedule.c tests/unit/check.c
tests_unit_test_schedule_LDADD = $(UNIT_MODEL_LIBS)
tests_unit_test_schedule_incremental_SOURCES = tests/unit/test_schedule_incremental.c tests/unit/check.c
tests_unit_test_schedule_incremental_LDADD = $(UNIT_MODEL_LIBS)
tests_unit_test_place_SOURCES = tests/unit/test_place.c tests/oom/failing_alloc.c tests/oom/failing_alloc.h tests/unit/check.c
tests_unit_test_place_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_place_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup \
	-Wl,--wrap=strndup,--wrap=vasprintf,--wrap=json_object_new_object,--wrap=json_object_new_array,--wrap=json_object_new_string \
	-Wl,--wrap=json_object_new_string_len,--wrap=json_object_new_int64,--wrap=json_object_new_boolean,--wrap=json_object_deep_copy \
	-Wl,--wrap=json_object_new_double,--wrap=json_object_object_add,--wrap=json_object_array_add \
	-Wl,--wrap=json_object_array_put_idx,--wrap=json_tokener_new_ex,--wrap=yaml_parser_initialize
tests_unit_test_local_SOURCES = tests/unit/test_local.c tests/unit/check.c
tests_unit_test_local_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_local_DEPENDENCIES = libbackendint.la libmodel.la libbase.la osmo-pod-supervisor$(EXEEXT)
tests_unit_test_supervisor_SOURCES = tests/unit/test_supervisor.c daemons/osmo-pod-supervisor/mounts.c tests/unit/check.c
tests_unit_test_supervisor_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons/osmo-pod-supervisor
tests_unit_test_supervisor_LDADD = $(UNIT_BASE_LIBS)
tests_unit_test_podnet_SOURCES = tests/unit/test_podnet.c daemons/osmo-pod-supervisor/netlink.c daemons/osmo-pod-supervisor/pod_net.c \
	daemons/osmo-pod-supervisor/relay.c daemons/osmo-pod-supervisor/resolver.c daemons/osmo-pod-supervisor/holder.c \
	daemons/osmo-pod-supervisor/holder_helper.c daemons/osmo-pod-supervisor/holder_nft.c tests/unit/check.c
tests_unit_test_podnet_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons/osmo-pod-supervisor
tests_unit_test_podnet_LDADD = $(UNIT_BASE_LIBS)
