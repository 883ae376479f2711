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
	libosmo-backend/operator/labels.c libosmo-backend/operator/labels.h \
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
osmo_backend_SOURCES = daemons/osmo-backend/main.c daemons/osmo-backend/options.c daemons/osmo-backend/options.h
osmo_backend_LDADD = libosmo-backend.la libbase.la $(BASE_EXTERNAL)

# Tests of nodes: the runner and what runs on the nodes.
osmolibexec_PROGRAMS += osmo-node-test
osmo_node_test_SOURCES = daemons/osmo-node-test/main.c daemons/osmo-node-test/node_test.h daemons/osmo-node-test/options.c \
	daemons/osmo-node-test/conditions.c daemons/osmo-node-test/config.c daemons/osmo-node-test/connection.c \
	daemons/osmo-node-test/lfs.c daemons/osmo-node-test/resource.c daemons/osmo-node-test/runner.c daemons/osmo-node-test/validator.c
osmo_node_test_LDADD = libosmo-backend.la libmodel.la libbase.la $(BASE_EXTERNAL)

unit_tests += tests/unit/test_queues_cluster
tests_unit_test_queues_cluster_SOURCES = tests/unit/test_queues_cluster.c tests/unit/check.c
tests_unit_test_queues_cluster_LDADD = $(UNIT_BACKEND_LIBS)
unit_tests += tests/unit/test_messages tests/unit/test_pod_status tests/unit/test_operator tests/unit/test_operator_parts
tests_unit_test_messages_SOURCES = tests/unit/test_messages.c tests/unit/check.c
tests_unit_test_messages_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_pod_facts tests/unit/test_pod_tracker tests/unit/test_nodes
tests_unit_test_pod_facts_SOURCES = tests/unit/test_pod_facts.c tests/unit/check.c
tests_unit_test_pod_facts_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_pod_tracker_SOURCES = tests/unit/test_pod_tracker.c tests/unit/check.c
tests_unit_test_pod_tracker_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_nodes_SOURCES = tests/unit/test_nodes.c tests/unit/check.c
tests_unit_test_nodes_LDADD = $(UNIT_BACKEND_LIBS)
unit_tests += tests/oom/test_oom_pods
tests_oom_test_oom_pods_SOURCES = tests/oom/test_oom_pods.c tests/oom/failing_alloc.c tests/oom/failing_alloc.h tests/unit/check.c
tests_oom_test_oom_pods_LDADD = $(UNIT_BACKEND_LIBS)
tests_oom_test_oom_pods_LDFLAGS = $(tests_oom_test_oom_LDFLAGS)
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
unit_tests += tests/unit/test_interop_operator tests/unit/test_interop_jobs
tests_unit_test_interop_jobs_SOURCES = tests/unit/test_interop_jobs.c $(INTEROP_BENCH)
tests_unit_test_interop_jobs_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_interop_operator_SOURCES = tests/unit/test_interop_operator.c $(INTEROP_BENCH)
tests_unit_test_interop_operator_LDADD = $(UNIT_BACKEND_LIBS)
unit_tests += tests/unit/test_probe tests/unit/test_lease
tests_unit_test_probe_SOURCES = tests/unit/test_probe.c tests/unit/check.c
tests_unit_test_probe_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_lease_SOURCES = tests/unit/test_lease.c tests/unit/fake_kube.c tests/unit/fake_kube.h tests/unit/check.c
tests_unit_test_lease_LDADD = $(UNIT_BACKEND_LIBS)
unit_tests += tests/unit/test_backend_tests
tests_unit_test_backend_tests_SOURCES = tests/unit/test_backend_tests.c tests/unit/fake_kube.c tests/unit/fake_kube.h tests/unit/check.c
tests_unit_test_backend_tests_LDADD = $(UNIT_BACKEND_LIBS)
interop_files = tests/interop/agent.py tests/interop/packages.sh tests/interop/requirements.txt tests/interop/test_agent.py \
	tests/interop/test_browser.py tests/interop/test_interactive.py tests/interop/upstream_user.py
