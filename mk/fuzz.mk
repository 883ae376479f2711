# Fuzz targets: entry points of libFuzzer's form with a driver of our own that replays and mutates (`make fuzz-targets`), and the
# unit test that fails allocations one by one.
fuzz_targets = tests/fuzz/fuzz_json tests/fuzz/fuzz_yaml tests/fuzz/fuzz_template tests/fuzz/fuzz_submission tests/fuzz/fuzz_settings \
	tests/fuzz/fuzz_spec tests/fuzz/fuzz_messages tests/fuzz/fuzz_link tests/fuzz/fuzz_pod_status tests/fuzz/fuzz_text \
	tests/fuzz/fuzz_plan tests/fuzz/fuzz_request tests/fuzz/fuzz_ws
EXTRA_PROGRAMS = $(fuzz_targets)
CLEANFILES += $(fuzz_targets)

tests_fuzz_fuzz_json_SOURCES = tests/fuzz/fuzz_json.c tests/fuzz/driver.c
tests_fuzz_fuzz_json_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_yaml_SOURCES = tests/fuzz/fuzz_yaml.c tests/fuzz/driver.c
tests_fuzz_fuzz_yaml_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_template_SOURCES = tests/fuzz/fuzz_template.c tests/fuzz/driver.c
tests_fuzz_fuzz_template_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_submission_SOURCES = tests/fuzz/fuzz_submission.c tests/fuzz/driver.c
tests_fuzz_fuzz_submission_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_settings_SOURCES = tests/fuzz/fuzz_settings.c tests/fuzz/driver.c
tests_fuzz_fuzz_settings_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_spec_SOURCES = tests/fuzz/fuzz_spec.c tests/fuzz/driver.c
tests_fuzz_fuzz_spec_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_messages_SOURCES = tests/fuzz/fuzz_messages.c tests/fuzz/driver.c
tests_fuzz_fuzz_messages_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_link_SOURCES = tests/fuzz/fuzz_link.c daemons/runtime/link.c tests/fuzz/driver.c
tests_fuzz_fuzz_link_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_fuzz_fuzz_link_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_pod_status_SOURCES = tests/fuzz/fuzz_pod_status.c tests/fuzz/driver.c
tests_fuzz_fuzz_pod_status_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_text_SOURCES = tests/fuzz/fuzz_text.c tests/fuzz/driver.c
tests_fuzz_fuzz_text_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_plan_SOURCES = tests/fuzz/fuzz_plan.c tests/fuzz/driver.c
tests_fuzz_fuzz_plan_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_request_SOURCES = tests/fuzz/fuzz_request.c tests/fuzz/service.c tests/fuzz/service.h tests/fuzz/driver.c
tests_fuzz_fuzz_request_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_ws_SOURCES = tests/fuzz/fuzz_ws.c tests/fuzz/service.c tests/fuzz/service.h tests/fuzz/driver.c
tests_fuzz_fuzz_ws_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)

fuzz-targets: $(fuzz_targets)
print-fuzz-targets:
	@echo $(fuzz_targets)
.PHONY: fuzz-targets print-fuzz-targets

# Every allocation of our own code, and every one that a facade asks a library for, goes through the test's wrappers.
unit_tests += tests/oom/test_oom
tests_oom_test_oom_SOURCES = tests/oom/test_oom.c tests/oom/failing_alloc.c tests/oom/failing_alloc.h tests/unit/check.c
tests_oom_test_oom_LDADD = $(UNIT_MODEL_LIBS)
tests_oom_test_oom_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup \
	-Wl,--wrap=vasprintf,--wrap=json_object_new_object,--wrap=json_object_new_array,--wrap=json_object_new_string \
	-Wl,--wrap=json_object_new_string_len,--wrap=json_object_new_int64,--wrap=json_object_new_boolean,--wrap=json_object_deep_copy \
	-Wl,--wrap=json_object_new_double,--wrap=json_object_object_add,--wrap=json_object_array_add \
	-Wl,--wrap=json_object_array_put_idx,--wrap=json_tokener_new_ex,--wrap=yaml_parser_initialize
