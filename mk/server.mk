# server: the network front and its program
noinst_LTLIBRARIES += libserver.la
libserver_la_SOURCES = \
	libosmo-core/server/net.c libosmo-core/server/net.h \
	libosmo-core/server/net_http.c libosmo-core/server/net_head.c libosmo-core/server/net_head.h libosmo-core/server/net_request.c libosmo-core/server/net_ws.c libosmo-core/server/net_frame.c libosmo-core/server/net_frame.h \
	libosmo-core/server/net_carry.c libosmo-core/server/net_carry.h libosmo-core/server/net_carry_io.c libosmo-core/server/net_relay.c \
	libosmo-core/server/net_ws_carry.c libosmo-core/server/net_tunnel.c libosmo-core/server/net_elsewhere.c \
	libosmo-core/server/net_rewrite.c libosmo-core/server/net_rewrite.h \
	libosmo-core/server/server.c libosmo-core/server/workers.c
libcoreint_la_LIBADD = libserver.la
libcoreint_la_SOURCES += \
	libosmo-core/engine/audit.c libosmo-core/engine/audit.h libosmo-core/engine/limits.c libosmo-core/engine/limits.h \
	libosmo-core/api/guard.c libosmo-core/api/guard.h libosmo-core/api/stream_guard.c

bin_PROGRAMS += osmo-service
osmo_service_SOURCES = daemons/osmo-service/main.c daemons/osmo-service/wipe.c daemons/osmo-service/options.c daemons/osmo-service/options.h
osmo_service_LDADD = libosmo-core.la libbase.la $(BASE_EXTERNAL)

# These tests bring a service of their own, so they take the server without the rest of libosmo-core.
unit_tests += tests/unit/test_server
server_fixture = tests/unit/server_fixture.c tests/unit/server_fixture.h tests/unit/check.c
UNIT_SERVER_LIBS = libserver.la $(UNIT_BASE_LIBS)
tests_unit_test_server_SOURCES = tests/unit/test_server.c tests/unit/tls_fixture.c tests/unit/tls_fixture.h $(server_fixture)
unit_tests += tests/unit/test_server_limits
tests_unit_test_server_limits_SOURCES = tests/unit/test_server_limits.c $(server_fixture)
tests_unit_test_server_limits_LDADD = $(UNIT_SERVER_LIBS)
unit_tests += tests/unit/test_server_frames tests/unit/test_server_talk
tests_unit_test_server_frames_SOURCES = tests/unit/test_server_frames.c $(server_fixture)
tests_unit_test_server_frames_LDADD = $(UNIT_SERVER_LIBS)
tests_unit_test_server_talk_SOURCES = tests/unit/test_server_talk.c $(server_fixture)
tests_unit_test_server_talk_LDADD = $(UNIT_SERVER_LIBS)
unit_tests += tests/unit/test_server_join tests/unit/test_server_tunnel tests/unit/test_server_elsewhere
ws_raw = tests/unit/ws_raw.c tests/unit/ws_raw.h
tests_unit_test_server_join_SOURCES = tests/unit/test_server_join.c tests/unit/tls_fixture.c tests/unit/tls_fixture.h $(ws_raw) $(server_fixture)
tests_unit_test_server_join_LDADD = $(UNIT_SERVER_LIBS)
tests_unit_test_server_tunnel_SOURCES = tests/unit/test_server_tunnel.c $(ws_raw) $(server_fixture)
tests_unit_test_server_tunnel_LDADD = $(UNIT_SERVER_LIBS)
tests_unit_test_server_elsewhere_SOURCES = tests/unit/test_server_elsewhere.c $(ws_raw) $(server_fixture)
tests_unit_test_server_elsewhere_LDADD = $(UNIT_SERVER_LIBS)
tests_unit_test_server_LDADD = $(UNIT_SERVER_LIBS)

service_fixture = tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
unit_tests += tests/unit/test_audit tests/unit/test_limits
tests_unit_test_audit_SOURCES = tests/unit/test_audit.c $(service_fixture)
tests_unit_test_audit_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_limits_SOURCES = tests/unit/test_limits.c $(service_fixture)
tests_unit_test_limits_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_pgsql_tls
tests_unit_test_pgsql_tls_SOURCES = tests/unit/test_pgsql_tls.c tests/unit/tls_fixture.c tests/unit/tls_fixture.h tests/unit/check.c
tests_unit_test_pgsql_tls_LDADD = $(UNIT_CORE_LIBS)
