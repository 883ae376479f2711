# net: crypto, the HTTP client and the websocket client of base/
libbase_la_SOURCES += \
	libosmo-core/base/crypto.c libosmo-core/base/crypto.h libosmo-core/base/crypto_text.c libosmo-core/base/crypto_text.h \
	libosmo-core/base/crypto_jwk.c libosmo-core/base/jwk.h libosmo-core/base/crypto_seal.c libosmo-core/base/seal.h \
	libosmo-core/base/crypto_tls.c libosmo-core/base/tls.h libosmo-core/base/crypto_digest.c libosmo-core/base/crc32c.c libosmo-core/base/crc32c.h \
	libosmo-core/base/http.c libosmo-core/base/http.h libosmo-core/base/http_url.c \
	libosmo-core/base/ws_client.c libosmo-core/base/ws_client.h \
	libosmo-core/base/ws_client_conn.c libosmo-core/base/ws_client_conn.h \
	libosmo-core/base/ws_client_loop.c libosmo-core/base/ws_client_loop.h \
	libosmo-core/base/ws_client_watch.c libosmo-core/base/ws_client_wire.c libosmo-core/base/ws_client_wire.h libosmo-core/base/ws_pump.c libosmo-core/base/ws_pump.h

unit_tests += tests/unit/test_crypto tests/unit/test_http tests/unit/test_ws_client
tests_unit_test_crypto_SOURCES = tests/unit/test_crypto.c tests/unit/check.c
tests_unit_test_crypto_LDADD = $(UNIT_BASE_LIBS)
tests_unit_test_http_SOURCES = tests/unit/test_http.c tests/unit/check.c tests/unit/peer.c tests/unit/peer.h
tests_unit_test_http_LDADD = $(UNIT_BASE_LIBS)
tests_unit_test_ws_client_SOURCES = tests/unit/test_ws_client.c tests/unit/kube_server.c tests/unit/tls_fixture.c tests/unit/check.c
tests_unit_test_ws_client_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_seal tests/unit/test_jwk
tests_unit_test_seal_SOURCES = tests/unit/test_seal.c tests/unit/check.c
tests_unit_test_seal_LDADD = $(UNIT_BASE_LIBS)
tests_unit_test_jwk_SOURCES = tests/unit/test_jwk.c tests/unit/check.c
tests_unit_test_jwk_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_ws_pump
tests_unit_test_ws_pump_SOURCES = tests/unit/test_ws_pump.c tests/unit/ws_peer.c tests/unit/ws_peer.h tests/unit/check.c
tests_unit_test_ws_pump_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_ws_wire
tests_unit_test_ws_wire_SOURCES = tests/unit/test_ws_wire.c tests/unit/check.c
tests_unit_test_ws_wire_LDADD = $(UNIT_BASE_LIBS)
