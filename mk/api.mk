# api, and the parts of the engine behind it: identities, logs, task data
libcoreint_la_SOURCES += \
	libosmo-core/api/answer.c libosmo-core/api/auth_routes.c libosmo-core/api/config_routes.c libosmo-core/api/handlers.h \
	libosmo-core/api/explain_routes.c libosmo-core/api/log_routes.c libosmo-core/api/node_view.c libosmo-core/api/pool_routes.c libosmo-core/api/profile_routes.c \
	libosmo-core/api/replica_routes.c libosmo-core/api/resource_routes.c libosmo-core/api/route.h libosmo-core/api/router.c libosmo-core/api/router.h \
	libosmo-core/api/routes.c libosmo-core/api/service.c libosmo-core/api/service_internal.h libosmo-core/api/storage_routes.c \
	libosmo-core/api/submit_routes.c libosmo-core/api/system_routes.c libosmo-core/api/tag_routes.c libosmo-core/api/task_routes.c libosmo-core/api/version_gate.c \
	libosmo-core/api/workflow_filter.c libosmo-core/api/workflow_routes.c libosmo-core/api/workflow_view.c \
	libosmo-core/api/workflow_view.h libosmo-core/api/ws.c \
	libosmo-core/engine/auth.c libosmo-core/engine/auth_identify.c libosmo-core/engine/auth_internal.h libosmo-core/engine/auth_tokens.c \
	libosmo-core/engine/logs.c libosmo-core/engine/logs_barrier.c libosmo-core/engine/logs_internal.h libosmo-core/engine/logs_session.c \
	libosmo-core/engine/archive.c libosmo-core/engine/archive.h libosmo-core/engine/archive_read.c libosmo-core/engine/archive_tasks.c \
	libosmo-core/engine/logs_lines.c libosmo-core/engine/logs_restart.c libosmo-core/engine/logs_stream.c libosmo-core/engine/storage.c libosmo-core/engine/storage.h \
	libosmo-core/engine/storage_internal.h libosmo-core/engine/storage_tree.c

unit_tests += tests/unit/test_api tests/unit/test_auth tests/unit/test_logs
tests_unit_test_api_SOURCES = tests/unit/test_api.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_api_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_auth_SOURCES = tests/unit/test_auth.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_auth_LDADD = $(UNIT_CORE_LIBS)
logs_fixture = tests/unit/logs_fixture.c tests/unit/logs_fixture.h tests/unit/service_fixture.h tests/unit/service_fixture.c \
	tests/unit/signing_key.c tests/unit/signing_key.h $(store_fixture)
tests_unit_test_logs_SOURCES = tests/unit/test_logs.c $(logs_fixture)
tests_unit_test_logs_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_logs_lines
tests_unit_test_logs_lines_SOURCES = tests/unit/test_logs_lines.c $(logs_fixture)
tests_unit_test_logs_lines_LDADD = $(UNIT_CORE_LIBS)

unit_tests += tests/unit/test_api_list
tests_unit_test_api_list_SOURCES = tests/unit/test_api_list.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h $(store_fixture)
tests_unit_test_api_list_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_explain_api
tests_unit_test_explain_api_SOURCES = tests/unit/test_explain_api.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_explain_api_LDADD = $(UNIT_CORE_LIBS)
