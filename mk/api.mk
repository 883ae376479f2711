# api, and the parts of the engine behind it: identities, logs, task data
libcoreint_la_SOURCES += \
	libosmo-core/api/answer.c libosmo-core/api/auth_routes.c libosmo-core/api/config_routes.c libosmo-core/api/config_test_routes.c libosmo-core/api/credential_routes.c libosmo-core/api/config_pool_routes.c libosmo-core/api/config_role_routes.c libosmo-core/api/config_service_routes.c libosmo-core/api/key_routes.c libosmo-core/api/handlers.h \
	libosmo-core/api/explain_routes.c libosmo-core/api/log_routes.c libosmo-core/api/log_query.c libosmo-core/api/log_query.h libosmo-core/api/node_view.c libosmo-core/api/pool_routes.c libosmo-core/api/profile_routes.c \
	libosmo-core/api/replica_routes.c libosmo-core/api/resource_routes.c libosmo-core/api/route.h libosmo-core/api/router.c libosmo-core/api/router.h \
	libosmo-core/api/routes.c libosmo-core/api/service.c libosmo-core/api/service_internal.h libosmo-core/api/storage_routes.c \
	libosmo-core/api/submit_routes.c libosmo-core/api/system_routes.c libosmo-core/api/tag_routes.c libosmo-core/api/task_routes.c libosmo-core/api/token_routes.c libosmo-core/api/user_routes.c libosmo-core/api/version_gate.c \
	libosmo-core/api/workflow_filter.c libosmo-core/api/workflow_routes.c libosmo-core/api/workflow_view.c \
	libosmo-core/api/workflow_view.h libosmo-core/api/ws.c \
	libosmo-core/engine/auth.c libosmo-core/engine/auth_keys.c libosmo-core/engine/auth_identify.c libosmo-core/engine/auth_internal.h libosmo-core/engine/auth_tokens.c \
	libosmo-core/engine/identity_internal.h libosmo-core/engine/auth_backend.c libosmo-core/engine/auth_cache.c libosmo-core/engine/auth_confirm.c \
	libosmo-core/engine/auth_dev.c libosmo-core/engine/auth_gateway.c libosmo-core/engine/auth_lookup.c libosmo-core/engine/auth_sessions.c libosmo-core/engine/auth_sessions.h libosmo-core/engine/identity_json.c \
	libosmo-core/engine/providers.h libosmo-core/engine/providers.c libosmo-core/engine/providers_internal.h libosmo-core/engine/providers_fetch.c \
	libosmo-core/engine/logs.c libosmo-core/engine/logs_barrier.c libosmo-core/engine/logs_internal.h libosmo-core/engine/logs_session.c \
	libosmo-core/engine/archive.c libosmo-core/engine/archive.h libosmo-core/engine/archive_read.c libosmo-core/engine/archive_tasks.c \
	libosmo-core/engine/logs_lines.c libosmo-core/engine/logs_restart.c libosmo-core/engine/logs_stream.c libosmo-core/engine/logs_emit.c libosmo-core/engine/logs_emit.h libosmo-core/engine/logs_beat.c libosmo-core/engine/logs_batch.c libosmo-core/engine/logs_batch.h libosmo-core/engine/storage.c libosmo-core/engine/storage.h \
	libosmo-core/engine/storage_internal.h libosmo-core/engine/storage_tree.c

unit_tests += tests/unit/test_api tests/unit/test_auth tests/unit/test_logs
tests_unit_test_api_SOURCES = tests/unit/test_api.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_api_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_api_users
tests_unit_test_api_users_SOURCES = tests/unit/test_api_users.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_api_users_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_auth_SOURCES = tests/unit/test_auth.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_auth_LDADD = $(UNIT_CORE_LIBS)
logs_fixture = tests/unit/logs_fixture.c tests/unit/logs_fixture.h tests/unit/service_fixture.h tests/unit/service_fixture.c \
	tests/unit/signing_key.c tests/unit/signing_key.h $(store_fixture)
tests_unit_test_logs_SOURCES = tests/unit/test_logs.c $(logs_fixture)
tests_unit_test_logs_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_log_query
tests_unit_test_log_query_SOURCES = tests/unit/test_log_query.c $(logs_fixture)
tests_unit_test_log_query_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_logs_lines
tests_unit_test_logs_lines_SOURCES = tests/unit/test_logs_lines.c $(logs_fixture)
tests_unit_test_logs_lines_LDADD = $(UNIT_CORE_LIBS)

unit_tests += tests/unit/test_api_list
tests_unit_test_api_list_SOURCES = tests/unit/test_api_list.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h $(store_fixture)
tests_unit_test_api_list_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_explain_api
tests_unit_test_explain_api_SOURCES = tests/unit/test_explain_api.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_explain_api_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_api_credentials
tests_unit_test_api_credentials_SOURCES = tests/unit/test_api_credentials.c tests/unit/peer.c tests/unit/peer.h tests/unit/service_fixture.h tests/unit/service_fixture.c \
	tests/unit/signing_key.c tests/unit/signing_key.h $(store_fixture)
tests_unit_test_api_credentials_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_api_config
tests_unit_test_api_config_SOURCES = tests/unit/test_api_config.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h $(store_fixture)
tests_unit_test_api_config_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_api_backends
tests_unit_test_api_backends_SOURCES = tests/unit/test_api_backends.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h $(store_fixture)
tests_unit_test_api_backends_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_keys
tests_unit_test_keys_SOURCES = tests/unit/test_keys.c tests/unit/service_fixture.h tests/unit/service_fixture.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c
tests_unit_test_keys_LDADD = $(UNIT_CORE_LIBS)
identity_fixture = $(logs_fixture) tests/unit/identity_fixture.c tests/unit/identity_fixture.h tests/unit/forge.c tests/unit/forge.h
unit_tests += tests/unit/test_identity
tests_unit_test_identity_SOURCES = tests/unit/test_identity.c $(identity_fixture)
tests_unit_test_identity_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_identity_peers
tests_unit_test_identity_peers_SOURCES = tests/unit/test_identity_peers.c $(identity_fixture)
tests_unit_test_identity_peers_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_backend_tokens
tests_unit_test_backend_tokens_SOURCES = tests/unit/test_backend_tokens.c $(identity_fixture)
tests_unit_test_backend_tokens_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_providers
tests_unit_test_providers_SOURCES = tests/unit/test_providers.c tests/unit/idp_fixture.c tests/unit/idp_fixture.h $(identity_fixture)
tests_unit_test_providers_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_escalation
tests_unit_test_escalation_SOURCES = tests/unit/test_escalation.c tests/unit/idp_fixture.c tests/unit/idp_fixture.h $(identity_fixture)
tests_unit_test_escalation_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_logs_masks
tests_unit_test_logs_masks_SOURCES = tests/unit/test_logs_masks.c $(logs_fixture)
tests_unit_test_logs_masks_LDADD = $(UNIT_CORE_LIBS)
