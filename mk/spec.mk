# model: specification, settings, pods
libmodel_la_SOURCES += libosmo-core/model/label_selector.c libosmo-core/model/label_selector.h \
	libosmo-core/model/pods.c libosmo-core/model/pods.h libosmo-core/model/pods_internal.h \
	libosmo-core/model/credential.c libosmo-core/model/credential.h libosmo-core/model/credential_scope.c libosmo-core/model/mask.c libosmo-core/model/mask.h \
	libosmo-core/model/pods_credential.c libosmo-core/model/pods_labels.c \
	libosmo-core/model/pods_merge.c libosmo-core/model/pods_pod.c libosmo-core/model/pods_queues.c libosmo-core/model/pods_queues.h libosmo-core/model/pods_secret.c \
	libosmo-core/model/pods_template.c libosmo-core/model/pods_topology.c libosmo-core/model/pods_vars.c \
	libosmo-core/model/quantity.c \
	libosmo-core/model/node_match.c libosmo-core/model/node_match.h \
	libosmo-core/model/validate.c libosmo-core/model/validate.h libosmo-core/model/redact.c libosmo-core/model/redact.h \
	libosmo-core/model/settings.c libosmo-core/model/settings.h libosmo-core/model/settings_internal.h \
	libosmo-core/model/backend_config.c libosmo-core/model/backend_config.h libosmo-core/model/pool_config.c libosmo-core/model/pool_config.h libosmo-core/model/settings_auth.c libosmo-core/model/settings_backends.c libosmo-core/model/settings_labels.c libosmo-core/model/settings_pools.c libosmo-core/model/settings_sections.c \
	libosmo-core/model/spec.c libosmo-core/model/spec.h libosmo-core/model/spec_internal.h \
	libosmo-core/model/spec_check.c libosmo-core/model/spec_findings.c libosmo-core/model/spec_findings.h \
	libosmo-core/model/spec_graph.c libosmo-core/model/spec_json.c libosmo-core/model/spec_labels.c \
	libosmo-core/model/spec_public.c libosmo-core/model/spec_regex.c libosmo-core/model/spec_write.c \
	libosmo-core/model/spec_read.c libosmo-core/model/spec_read.h libosmo-core/model/spec_resolve.c \
	libosmo-core/model/spec_resource.c libosmo-core/model/spec_task.c libosmo-core/model/spec_tree.c

unit_tests += tests/unit/test_spec
tests_unit_test_spec_SOURCES = tests/unit/test_spec.c tests/unit/check.c
tests_unit_test_spec_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_spec_form
tests_unit_test_spec_form_SOURCES = tests/unit/test_spec_form.c tests/unit/check.c
tests_unit_test_spec_form_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_spec_rules
tests_unit_test_spec_rules_SOURCES = tests/unit/test_spec_rules.c tests/unit/check.c
tests_unit_test_spec_rules_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_spec_values
tests_unit_test_spec_values_SOURCES = tests/unit/test_spec_values.c tests/unit/check.c
tests_unit_test_spec_values_LDADD = $(UNIT_MODEL_LIBS)
# A program as users write it: the shared library and public headers only.
unit_tests += tests/unit/test_spec_public
tests_unit_test_spec_public_SOURCES = tests/unit/test_spec_public.c tests/unit/check.c
tests_unit_test_spec_public_LDADD = libosmo-core.la $(CUNIT_LIBS)
unit_tests += tests/unit/test_settings
tests_unit_test_settings_SOURCES = tests/unit/test_settings.c tests/unit/check.c
tests_unit_test_settings_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_pods
tests_unit_test_pods_SOURCES = tests/unit/test_pods.c tests/unit/check.c
tests_unit_test_pods_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_pods_specs
tests_unit_test_pods_specs_SOURCES = tests/unit/test_pods_specs.c tests/unit/golden_fixture.c tests/unit/golden_fixture.h \
	tests/unit/check.c
tests_unit_test_pods_specs_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_golden
tests_unit_test_golden_SOURCES = tests/unit/test_golden.c tests/unit/golden_fixture.c tests/unit/golden_fixture.h \
	tests/unit/check.c
tests_unit_test_golden_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_validate
tests_unit_test_validate_SOURCES = tests/unit/test_validate.c tests/unit/check.c
tests_unit_test_validate_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_credential
tests_unit_test_credential_SOURCES = tests/unit/test_credential.c tests/unit/check.c
tests_unit_test_credential_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_pool_config
tests_unit_test_pool_config_SOURCES = tests/unit/test_pool_config.c tests/unit/check.c
tests_unit_test_pool_config_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_mask
tests_unit_test_mask_SOURCES = tests/unit/test_mask.c tests/unit/check.c
tests_unit_test_mask_LDADD = $(UNIT_MODEL_LIBS)
