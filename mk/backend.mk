# backend: the operator protocol, the operator, cluster drivers that need no fragment of their own, osmo-backend
libmodel_la_SOURCES += libosmo-core/model/messages.c libosmo-core/model/messages.h
libbackendint_la_SOURCES += \
	libosmo-backend/cluster/driver.c \
	libosmo-backend/cluster/scripted/script.c libosmo-backend/cluster/scripted/script.h \
	libosmo-backend/cluster/scripted/scripted.c libosmo-backend/cluster/scripted/scripted.h \
	libosmo-backend/operator/backend_tests.c libosmo-backend/operator/backend_tests_template.h \
	libosmo-backend/operator/changes.c \
	libosmo-backend/operator/cleanup.c \
	libosmo-backend/operator/create.c libosmo-backend/operator/crew.c libosmo-backend/operator/crew.h \
	libosmo-backend/operator/events.c libosmo-backend/operator/events.h \
	libosmo-backend/operator/health.c \
	libosmo-backend/operator/internal.h \
	libosmo-backend/operator/jobs.c libosmo-backend/operator/jobs.h \
	libosmo-backend/operator/lease.c libosmo-backend/operator/lease.h \
	libosmo-backend/operator/login.c \
	libosmo-backend/operator/metrics.c libosmo-backend/operator/metrics.h \
	libosmo-backend/operator/nodes.c libosmo-backend/operator/nodes.h \
	libosmo-backend/operator/operator.c \
	libosmo-backend/operator/outbox.c libosmo-backend/operator/outbox.h \
	libosmo-backend/operator/pod_decide.h libosmo-backend/operator/pod_status.c \
	libosmo-backend/operator/pod_facts.c libosmo-backend/operator/pod_facts.h \
	libosmo-backend/operator/pod_ids.c libosmo-backend/operator/pod_ids.h \
	libosmo-backend/operator/pod_table.c libosmo-backend/operator/pod_table.h \
	libosmo-backend/operator/pods.c libosmo-backend/operator/pods.h \
	libosmo-backend/operator/probe.c libosmo-backend/operator/probe.h \
	libosmo-backend/operator/quantity.c libosmo-backend/operator/quantity.h \
	libosmo-backend/operator/queues.c \
	libosmo-backend/operator/rules.c libosmo-backend/operator/rules.h \
	libosmo-backend/operator/session.c \
	libosmo-backend/operator/snapshot.c \
	libosmo-backend/operator/worker.c

bin_PROGRAMS += osmo-backend
osmo_backend_SOURCES = daemons/osmo-backend/main.c
osmo_backend_LDADD = libosmo-backend.la libbase.la $(BASE_EXTERNAL)

unit_tests += tests/unit/test_queues_cluster
tests_unit_test_queues_cluster_SOURCES = tests/unit/test_queues_cluster.c tests/unit/check.c
tests_unit_test_queues_cluster_LDADD = $(UNIT_BACKEND_LIBS)
unit_tests += tests/unit/test_messages tests/unit/test_pod_status tests/unit/test_operator tests/unit/test_operator_parts
tests_unit_test_messages_SOURCES = tests/unit/test_messages.c tests/unit/check.c
tests_unit_test_messages_LDADD = $(UNIT_MODEL_LIBS)
tests_unit_test_pod_status_SOURCES = tests/unit/test_pod_status.c tests/unit/check.c
tests_unit_test_pod_status_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_operator_parts_SOURCES = tests/unit/test_operator_parts.c tests/unit/check.c
tests_unit_test_operator_parts_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_operator_SOURCES = tests/unit/test_operator.c tests/unit/check.c
tests_unit_test_operator_LDADD = $(UNIT_BACKEND_LIBS)

unit_tests += tests/unit/test_jobs
tests_unit_test_jobs_SOURCES = tests/unit/test_jobs.c tests/unit/check.c
tests_unit_test_jobs_LDADD = $(UNIT_BACKEND_LIBS)

# Our operator against an agent of OSMO 6.4 that the tests play on real sockets.
INTEROP_BENCH = tests/unit/interop_bench.c tests/unit/interop_bench.h tests/unit/upstream_fixture.c tests/unit/upstream_fixture.h \
	tests/unit/upstream_http.c tests/unit/upstream_int.h tests/unit/upstream_schema.c tests/unit/check.c
unit_tests += tests/unit/test_interop_operator
tests_unit_test_interop_operator_SOURCES = tests/unit/test_interop_operator.c $(INTEROP_BENCH)
tests_unit_test_interop_operator_LDADD = $(UNIT_BACKEND_LIBS)
