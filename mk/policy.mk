# model: roles and policies
libmodel_la_SOURCES += libosmo-core/model/policy.c libosmo-core/model/policy.h libosmo-core/model/policy_role.c libosmo-core/model/account.c libosmo-core/model/account.h \
	libosmo-core/model/policy_public.c libosmo-core/model/settings_roles.c

# engine and api: who may do what
libcoreint_la_SOURCES += libosmo-core/api/authorize.c libosmo-core/engine/access.c libosmo-core/engine/access.h \
	libosmo-core/engine/access_internal.h libosmo-core/engine/access_picture.c libosmo-core/engine/access_store.c \
	libosmo-core/engine/access_sync.c

unit_tests += tests/unit/test_policy
tests_unit_test_policy_SOURCES = tests/unit/test_policy.c tests/unit/check.c
tests_unit_test_policy_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_policy_public
tests_unit_test_policy_public_SOURCES = tests/unit/test_policy_public.c tests/unit/check.c
tests_unit_test_policy_public_LDADD = libosmo-core.la $(CUNIT_LIBS)
unit_tests += tests/unit/test_access
tests_unit_test_access_SOURCES = tests/unit/test_access.c tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/engine_fixture.c \
	tests/unit/engine_fixture.h tests/unit/pgsql_fixture.c tests/unit/pgsql_fixture.h tests/unit/check.c tests/unit/check.h
tests_unit_test_access_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_account
tests_unit_test_account_SOURCES = tests/unit/test_account.c tests/unit/check.c
tests_unit_test_account_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_routes
tests_unit_test_routes_SOURCES = tests/unit/test_routes.c tests/unit/actions_fixture.c tests/unit/actions_fixture.h tests/unit/check.c
tests_unit_test_routes_LDADD = $(UNIT_CORE_LIBS)
matrix_fixture = tests/unit/matrix_fixture.c tests/unit/matrix_fixture.h tests/unit/service_fixture.c tests/unit/service_fixture.h \
	tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c tests/unit/check.h
unit_tests += tests/unit/test_matrix
tests_unit_test_matrix_SOURCES = tests/unit/test_matrix.c tests/unit/actions_fixture.c tests/unit/actions_fixture.h $(matrix_fixture)
tests_unit_test_matrix_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_paths
tests_unit_test_paths_SOURCES = tests/unit/test_paths.c $(matrix_fixture)
tests_unit_test_paths_LDADD = $(UNIT_CORE_LIBS)
