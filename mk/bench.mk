# Figures; nothing here is a test, but what is checked is that it compiles.
bench_programs = tests/bench/measure
tests_bench_measure_SOURCES = tests/bench/measure.c
tests_bench_measure_LDADD = libbase.la
bench_programs += tests/bench/size
tests_bench_size_SOURCES = tests/bench/size.c
tests_bench_size_LDADD = libbase.la
bench_programs += tests/bench/schedule
tests_bench_schedule_SOURCES = tests/bench/schedule.c
tests_bench_schedule_LDADD = libmodel.la libbase.la
bench_programs += tests/bench/engine
tests_bench_engine_SOURCES = tests/bench/engine.c
tests_bench_engine_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
bench_programs += tests/bench/list
tests_bench_list_SOURCES = tests/bench/list.c
tests_bench_list_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
bench_programs += tests/bench/logstore
tests_bench_logstore_SOURCES = tests/bench/logstore.c
tests_bench_logstore_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
bench_programs += tests/bench/logseek
tests_bench_logseek_SOURCES = tests/bench/logseek.c
tests_bench_logseek_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
EXTRA_DIST += tests/bench/logs.sh
bench_programs += tests/bench/storage_peer tests/bench/transfer
tests_bench_storage_peer_SOURCES = tests/bench/storage_peer.c
tests_bench_storage_peer_LDADD = -lpthread
tests_bench_transfer_SOURCES = tests/bench/transfer.c
tests_bench_transfer_LDADD = libdata.la libbase.la $(BASE_EXTERNAL)
EXTRA_DIST += tests/bench/data.sh
bench_programs += tests/bench/language
tests_bench_language_SOURCES = tests/bench/language.c
tests_bench_language_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
bench_programs += tests/bench/jwt
tests_bench_jwt_SOURCES = tests/bench/jwt.c
tests_bench_jwt_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
bench_programs += tests/bench/pods
tests_bench_pods_SOURCES = tests/bench/pods.c
tests_bench_pods_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
bench_programs += tests/bench/http
tests_bench_http_SOURCES = tests/bench/http.c
EXTRA_DIST += tests/bench/http.sh tests/bench/podnet.sh
EXTRA_DIST += tests/bench/language.py tests/bench/engine.sh tests/bench/logstore.sh

bench: all $(bench_programs)
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/bench.sh
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/engine.sh
	tests/bench/jwt
	tests/bench/schedule 1000 10000
	tests/bench/schedule 10000 100000
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/size.sh
	$(MAKE) bench-pods
	$(MAKE) bench-language
	$(MAKE) bench-http
	if ! command -v socat > /dev/null 2>&1; then echo 'no socat: nothing is compared with it'; \
	elif test -x tests/bench/router; then $(MAKE) bench-router; fi
# Needs python3-jinja2 and python3-yaml, the peers.
bench-language: tests/bench/language
	$${PYTHON:-/usr/bin/python3} $(srcdir)/tests/bench/language.py tests/bench/language
.PHONY: bench bench-language
bench-podnet: all
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/podnet.sh
.PHONY: bench-podnet
# A million stored workflows take minutes to make: not part of bench. `tests/bench/list 10000` is a quick look.
bench-list: tests/bench/list
	tests/bench/list 1000000
.PHONY: bench-list
bench-logstore: tests/bench/logstore
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/logstore.sh
.PHONY: bench-logstore
# Files to and from storage against curl, and rclone where it is installed.
bench-data: tests/bench/storage_peer tests/bench/transfer
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/data.sh
.PHONY: bench-data
# Logs from end to end: lines per second, latency of followers, seeking. Minutes.
bench-logs: tests/bench/logseek all
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/logs.sh
.PHONY: bench-logs
bench-http: tests/bench/http osmo-service osmo
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/http.sh
.PHONY: bench-http
bench-pods: tests/bench/pods
	tests/bench/pods
.PHONY: bench-pods
# A control plane of Kubernetes and nodes without kubelets (tests/kubernetes/); as root.
bench_programs += tests/bench/kubernetes
tests_bench_kubernetes_SOURCES = tests/bench/kubernetes.c
tests_bench_kubernetes_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
EXTRA_DIST += tests/bench/kubernetes.py tests/bench/kubernetes_status.py
bench-kubernetes: tests/bench/kubernetes osmo-service osmo-backend osmo
	OSMO_BUILD='$(abs_top_builddir)' OSMO_SOURCE='$(abs_top_srcdir)' $${PYTHON:-/usr/bin/python3} -B $(srcdir)/tests/bench/kubernetes.py tests/bench/kubernetes
.PHONY: bench-kubernetes
# Needs socat, the peer, and the server that unit tests have.
if HAVE_CUNIT
bench_programs += tests/bench/router
endif
tests_bench_router_SOURCES = tests/bench/router.c $(ws_raw) $(server_fixture)
tests_bench_router_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/unit
tests_bench_router_LDADD = $(UNIT_SERVER_LIBS)
bench-router: tests/bench/router
	tests/bench/router
.PHONY: bench-router
# A forwarded port against socat, the peer, doing the same hops; and the memory of idle connections.
bench_programs += tests/bench/forward
tests_bench_forward_SOURCES = tests/bench/forward.c
tests_bench_forward_LDADD = -lpthread
EXTRA_DIST += tests/bench/forward.sh
bench-forward: tests/bench/forward all
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/forward.sh
.PHONY: bench-forward
check_PROGRAMS += $(bench_programs)
