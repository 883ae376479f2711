# Interactive sessions: keys, rendezvous, the mailbox of the ctrls
libmodel_la_SOURCES += libosmo-core/model/router_key.c libosmo-core/model/router_key.h libosmo-core/model/settings_interactive.c
libcoreint_la_SOURCES += libosmo-core/store/repo_actions.c libosmo-core/store/repo_actions.h libosmo-core/engine/router.h libosmo-core/engine/router_internal.h \
	libosmo-core/engine/router.c libosmo-core/engine/router_session.c libosmo-core/engine/router_create.c libosmo-core/engine/router_tunnel.c \
	libosmo-core/engine/router_place.c libosmo-core/engine/router_actions.c libosmo-core/api/router_routes.c

unit_tests += tests/unit/test_router_key
tests_unit_test_router_key_SOURCES = tests/unit/test_router_key.c tests/unit/check.c tests/unit/check.h
tests_unit_test_router_key_LDADD = $(UNIT_MODEL_LIBS)

router_fixture = $(logs_fixture) tests/unit/router_fixture.c tests/unit/router_fixture.h
unit_tests += tests/unit/test_router
tests_unit_test_router_SOURCES = tests/unit/test_router.c $(router_fixture)
tests_unit_test_router_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_router_api
tests_unit_test_router_api_SOURCES = tests/unit/test_router_api.c $(router_fixture)
tests_unit_test_router_api_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_router_access
tests_unit_test_router_access_SOURCES = tests/unit/test_router_access.c tests/unit/matrix_fixture.c tests/unit/matrix_fixture.h $(router_fixture)
tests_unit_test_router_access_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_router_replicas
tests_unit_test_router_replicas_SOURCES = tests/unit/test_router_replicas.c $(router_fixture)
tests_unit_test_router_replicas_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_router_rsync
tests_unit_test_router_rsync_SOURCES = tests/unit/test_router_rsync.c $(engine_fixture)
tests_unit_test_router_rsync_LDADD = $(UNIT_CORE_LIBS)
