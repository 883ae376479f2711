# The Kubernetes driver of libosmo-backend and its client.
libbackendint_la_SOURCES += \
	libosmo-backend/cluster/kubernetes/finalizers.c libosmo-backend/cluster/kubernetes/finalizers.h \
	libosmo-backend/cluster/kubernetes/gang.c libosmo-backend/cluster/kubernetes/gang.h libosmo-backend/cluster/kubernetes/gang_int.h \
	libosmo-backend/cluster/kubernetes/gang_act.c \
	libosmo-backend/cluster/kubernetes/gang_node.c \
	libosmo-backend/cluster/kubernetes/gang_pod.c \
	libosmo-backend/cluster/kubernetes/gang_read.c \
	libosmo-backend/cluster/kubernetes/kept.c libosmo-backend/cluster/kubernetes/kept.h \
	libosmo-backend/cluster/kubernetes/known.c libosmo-backend/cluster/kubernetes/known.h \
	libosmo-backend/cluster/kubernetes/kubernetes.c libosmo-backend/cluster/kubernetes/kubernetes.h \
	libosmo-backend/cluster/kubernetes/kubernetes_int.h \
	libosmo-backend/cluster/kubernetes/meta.c libosmo-backend/cluster/kubernetes/meta.h \
	libosmo-backend/cluster/kubernetes/objects.c \
	libosmo-backend/cluster/kubernetes/reflector.c libosmo-backend/cluster/kubernetes/reflector.h \
	libosmo-backend/cluster/kubernetes/removal.c
libbackendint_la_SOURCES += \
	libosmo-backend/cluster/kubernetes/kube_client.c libosmo-backend/cluster/kubernetes/kube_int.h \
	libosmo-backend/cluster/kubernetes/kube_config.c libosmo-backend/cluster/kubernetes/kube_config.h \
	libosmo-backend/cluster/kubernetes/kube_discovery.c \
	libosmo-backend/cluster/kubernetes/kube_error.c \
	libosmo-backend/cluster/kubernetes/kube_exec.c \
	libosmo-backend/cluster/kubernetes/kube_kubeconfig.c \
	libosmo-backend/cluster/kubernetes/kube_list.c \
	libosmo-backend/cluster/kubernetes/kube_pool.c \
	libosmo-backend/cluster/kubernetes/kube_target.c \
	libosmo-backend/cluster/kubernetes/kube_verbs.c \
	libosmo-backend/cluster/kubernetes/kube_watch.c
unit_tests += tests/unit/test_reflector
tests_unit_test_reflector_SOURCES = tests/unit/test_reflector.c $(fake_kube)
tests_unit_test_reflector_LDADD = $(UNIT_BACKEND_LIBS)
fake_kube = tests/unit/fake_kube.c tests/unit/fake_kube.h tests/unit/check.c
unit_tests += tests/unit/test_kubernetes tests/unit/test_gang
tests_unit_test_kubernetes_SOURCES = tests/unit/test_kubernetes.c $(fake_kube)
tests_unit_test_kubernetes_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_gang_SOURCES = tests/unit/test_gang.c $(fake_kube)
tests_unit_test_gang_LDADD = $(UNIT_BACKEND_LIBS)

unit_tests += tests/unit/test_kube_client
kube_fixture = tests/unit/kube_server.c tests/unit/kube_server.h tests/unit/check.c
tests_unit_test_kube_client_SOURCES = tests/unit/test_kube_client.c tests/unit/tls_fixture.c tests/unit/tls_fixture.h $(kube_fixture)
tests_unit_test_kube_client_LDADD = $(UNIT_BACKEND_LIBS)

# What every cluster driver has to do, for each of them.
noinst_PROGRAMS += tests/conformance/conformance
tests_conformance_conformance_SOURCES = tests/conformance/harness.c tests/conformance/harness.h tests/conformance/cases.c
tests_conformance_conformance_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
unit_tests += tests/unit/test_kube_config tests/unit/test_kube_watch
tests_unit_test_kube_config_SOURCES = tests/unit/test_kube_config.c tests/unit/check.c
tests_unit_test_kube_config_LDADD = $(UNIT_BACKEND_LIBS)
tests_unit_test_kube_watch_SOURCES = tests/unit/test_kube_watch.c $(kube_fixture)
tests_unit_test_kube_watch_LDADD = $(UNIT_BACKEND_LIBS)

# Programs for tests/kubernetes/test_*.py.
kubernetes_programs = tests/kubernetes/kube_probe
print-kubernetes-programs:
	@echo $(kubernetes_programs)
.PHONY: print-kubernetes-programs
tests_kubernetes_kube_probe_SOURCES = tests/kubernetes/kube_probe.c
tests_kubernetes_kube_probe_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)

unit_tests += tests/oom/test_oom_kube
tests_oom_test_oom_kube_SOURCES = tests/oom/test_oom_kube.c tests/oom/failing_alloc.c tests/oom/failing_alloc.h tests/unit/check.c
tests_oom_test_oom_kube_LDADD = $(UNIT_BACKEND_LIBS)
tests_oom_test_oom_kube_LDFLAGS = $(oom_link_flags)
