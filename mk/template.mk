# Template engine and submission text (libosmo-core/model/template*, submission).
libmodel_la_SOURCES += \
	libosmo-core/model/template.h libosmo-core/model/template_internal.h libosmo-core/model/template.c \
	libosmo-core/model/template_lex.c libosmo-core/model/template_parse.c libosmo-core/model/template_parse_tags.c \
	libosmo-core/model/template_value.c libosmo-core/model/template_text.c libosmo-core/model/template_ops.c \
	libosmo-core/model/template_eval.c libosmo-core/model/template_call.c libosmo-core/model/template_filter.c \
	libosmo-core/model/template_tree.c libosmo-core/model/submission.h libosmo-core/model/submission.c

unit_tests += tests/unit/test_template tests/unit/test_submission
tests_unit_test_template_SOURCES = tests/unit/test_template.c tests/unit/check.c
tests_unit_test_template_LDADD = $(UNIT_MODEL_LIBS)
tests_unit_test_submission_SOURCES = tests/unit/test_submission.c tests/unit/check.c
tests_unit_test_submission_LDADD = $(UNIT_MODEL_LIBS)
