# model: roles and policies
libmodel_la_SOURCES += libosmo-core/model/policy.c libosmo-core/model/policy.h libosmo-core/model/policy_role.c

unit_tests += tests/unit/test_policy
tests_unit_test_policy_SOURCES = tests/unit/test_policy.c tests/unit/check.c
tests_unit_test_policy_LDADD = $(UNIT_MODEL_LIBS)
