# Template engine and submission text (libosmo-core/model/template*, submission).
libmodel_la_SOURCES += \
	libosmo-core/model/template.h libosmo-core/model/template_internal.h libosmo-core/model/template.c \
	libosmo-core/model/template_lex.c libosmo-core/model/template_parse.c libosmo-core/model/template_parse_tags.c \
	libosmo-core/model/template_value.c libosmo-core/model/template_text.c libosmo-core/model/template_ops.c \
	libosmo-core/model/template_eval.c libosmo-core/model/template_call.c libosmo-core/model/template_filter.c \
	libosmo-core/model/template_tree.c libosmo-core/model/template_filter.h \
	libosmo-core/model/template_tests.c libosmo-core/model/template_functions.c libosmo-core/model/template_unicode.c \
	libosmo-core/model/template_filter_list.c libosmo-core/model/template_filter_pick.c \
	libosmo-core/model/template_filter_sort.c libosmo-core/model/template_filter_number.c \
	libosmo-core/model/template_filter_wrap.c libosmo-core/model/template_filter_dump.c \
	libosmo-core/model/template_filter_format.c libosmo-core/model/template_filter_html.c \
	libosmo-core/model/template_filter_urlize.c libosmo-core/model/template_entities.c \
	libosmo-core/model/template_methods.c libosmo-core/model/template_methods_str.c libosmo-core/model/template_format.c \
	libosmo-core/model/template_scope.c libosmo-core/model/template_exec.c libosmo-core/model/template_macro.c \
	libosmo-core/model/template_public.c libosmo-core/model/template_bigint.c \
	libosmo-core/model/template_unicode_numbers.c libosmo-core/model/template_watch.c \
	libosmo-core/model/submission.h libosmo-core/model/submission.c

unit_tests += tests/unit/test_template tests/unit/test_template_filters tests/unit/test_submission
tests_unit_test_template_SOURCES = tests/unit/test_template.c tests/unit/template_cases.h tests/unit/check.c
tests_unit_test_template_LDADD = $(UNIT_MODEL_LIBS)
tests_unit_test_template_filters_SOURCES = tests/unit/test_template_filters.c tests/unit/check.c
tests_unit_test_template_filters_LDADD = $(UNIT_MODEL_LIBS)
tests_unit_test_submission_SOURCES = tests/unit/test_submission.c tests/unit/check.c
tests_unit_test_submission_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_template_public
tests_unit_test_template_public_SOURCES = tests/unit/test_template_public.c tests/unit/check.c
tests_unit_test_template_public_LDADD = libosmo-core.la $(CUNIT_LIBS)
unit_tests += tests/unit/test_template_language
tests_unit_test_template_language_SOURCES = tests/unit/test_template_language.c tests/unit/check.c
tests_unit_test_template_language_LDADD = $(UNIT_MODEL_LIBS)
