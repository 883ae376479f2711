# Fuzz targets in libFuzzer's form. `./configure --enable-fuzzing` (clang) links libFuzzer into them; any other build gives them a main that
# replays files, and `make check` runs the committed corpora through them.
if FUZZING
fuzz_main =
fuzz_link_flags = -fsanitize=fuzzer
else
fuzz_main = tests/fuzz/replay.c
fuzz_link_flags =
endif
fuzz_targets = tests/fuzz/fuzz_json tests/fuzz/fuzz_json_reader tests/fuzz/fuzz_yaml tests/fuzz/fuzz_template tests/fuzz/fuzz_submission tests/fuzz/fuzz_settings \
	tests/fuzz/fuzz_spec tests/fuzz/fuzz_messages tests/fuzz/fuzz_link tests/fuzz/fuzz_pod_status tests/fuzz/fuzz_text \
	tests/fuzz/fuzz_units tests/fuzz/fuzz_pods tests/fuzz/fuzz_plan \
	tests/fuzz/fuzz_request tests/fuzz/fuzz_ws tests/fuzz/fuzz_logs \
	tests/fuzz/fuzz_jwt tests/fuzz/fuzz_jwk tests/fuzz/fuzz_seal tests/fuzz/fuzz_policy tests/fuzz/fuzz_headers tests/fuzz/fuzz_url \
	tests/fuzz/fuzz_config tests/fuzz/fuzz_head tests/fuzz/fuzz_frames tests/fuzz/fuzz_credential tests/fuzz/fuzz_router tests/fuzz/fuzz_kube \
	tests/fuzz/fuzz_actions tests/fuzz/fuzz_session_input tests/fuzz/fuzz_tunnel
fuzz_targets += tests/fuzz/fuzz_storage tests/fuzz/fuzz_wire
check_SCRIPTS += tests/fuzz/replay.sh

tests_fuzz_fuzz_json_SOURCES = tests/fuzz/fuzz_json.c $(fuzz_main)
tests_fuzz_fuzz_json_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_json_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_json_reader_SOURCES = tests/fuzz/fuzz_json_reader.c tests/unit/reader_walk.c tests/unit/reader_walk.h $(fuzz_main)
tests_fuzz_fuzz_json_reader_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_json_reader_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_credential_SOURCES = tests/fuzz/fuzz_credential.c $(fuzz_main)
tests_fuzz_fuzz_credential_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_credential_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_storage_SOURCES = tests/fuzz/fuzz_storage.c $(fuzz_main)
tests_fuzz_fuzz_storage_LDADD = libdata.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_storage_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_yaml_SOURCES = tests/fuzz/fuzz_yaml.c $(fuzz_main)
tests_fuzz_fuzz_yaml_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_yaml_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_template_SOURCES = tests/fuzz/fuzz_template.c $(fuzz_main)
tests_fuzz_fuzz_template_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_template_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_submission_SOURCES = tests/fuzz/fuzz_submission.c $(fuzz_main)
tests_fuzz_fuzz_submission_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_submission_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_settings_SOURCES = tests/fuzz/fuzz_settings.c $(fuzz_main)
tests_fuzz_fuzz_settings_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_settings_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_spec_SOURCES = tests/fuzz/fuzz_spec.c $(fuzz_main)
tests_fuzz_fuzz_spec_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_spec_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_messages_SOURCES = tests/fuzz/fuzz_messages.c $(fuzz_main)
tests_fuzz_fuzz_messages_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_messages_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_link_SOURCES = tests/fuzz/fuzz_link.c daemons/runtime/link.c daemons/runtime/link_lines.c $(fuzz_main)
tests_fuzz_fuzz_link_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_fuzz_fuzz_link_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_link_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_actions_SOURCES = tests/fuzz/fuzz_actions.c daemons/osmo-ctrl/action_parse.c $(fuzz_main)
tests_fuzz_fuzz_actions_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_fuzz_fuzz_actions_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_actions_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_session_input_SOURCES = tests/fuzz/fuzz_session_input.c daemons/osmo-exec/escapes.c daemons/osmo-exec/words.c \
	daemons/osmo-exec/checkpoint_parse.c daemons/runtime/link.c $(fuzz_main)
tests_fuzz_fuzz_session_input_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_fuzz_fuzz_session_input_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_session_input_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_pod_status_SOURCES = tests/fuzz/fuzz_pod_status.c $(fuzz_main)
tests_fuzz_fuzz_pod_status_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_pod_status_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_text_SOURCES = tests/fuzz/fuzz_text.c $(fuzz_main)
tests_fuzz_fuzz_text_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_text_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_units_SOURCES = tests/fuzz/fuzz_units.c $(fuzz_main)
tests_fuzz_fuzz_units_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_units_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_pods_SOURCES = tests/fuzz/fuzz_pods.c $(fuzz_main)
tests_fuzz_fuzz_pods_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_pods_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_plan_SOURCES = tests/fuzz/fuzz_plan.c $(fuzz_main)
tests_fuzz_fuzz_plan_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_plan_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_request_SOURCES = tests/fuzz/fuzz_request.c tests/fuzz/service.c tests/fuzz/service.h $(fuzz_main)
tests_fuzz_fuzz_request_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_request_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_logs_SOURCES = tests/fuzz/fuzz_logs.c $(fuzz_main)
tests_fuzz_fuzz_logs_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_logs_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_ws_SOURCES = tests/fuzz/fuzz_ws.c tests/fuzz/service.c tests/fuzz/service.h $(fuzz_main)
tests_fuzz_fuzz_ws_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_ws_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_jwt_SOURCES = tests/fuzz/fuzz_jwt.c tests/unit/signing_key.c tests/unit/signing_key.h $(fuzz_main)
tests_fuzz_fuzz_jwt_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_jwt_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_jwk_SOURCES = tests/fuzz/fuzz_jwk.c tests/unit/signing_key.c tests/unit/signing_key.h $(fuzz_main)
tests_fuzz_fuzz_jwk_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_jwk_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_seal_SOURCES = tests/fuzz/fuzz_seal.c $(fuzz_main)
tests_fuzz_fuzz_seal_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_seal_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_policy_SOURCES = tests/fuzz/fuzz_policy.c $(fuzz_main)
tests_fuzz_fuzz_policy_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_policy_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_headers_SOURCES = tests/fuzz/fuzz_headers.c tests/fuzz/service.c tests/fuzz/service_guarded.c tests/fuzz/service.h tests/unit/signing_key.c tests/unit/signing_key.h $(fuzz_main)
tests_fuzz_fuzz_headers_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_headers_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_url_SOURCES = tests/fuzz/fuzz_url.c $(fuzz_main)
tests_fuzz_fuzz_url_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_url_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz_config.c $(fuzz_main)
tests_fuzz_fuzz_config_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_config_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_router_SOURCES = tests/fuzz/fuzz_router.c tests/fuzz/service.c tests/fuzz/service.h $(fuzz_main)
tests_fuzz_fuzz_router_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_router_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)

fuzz-targets: $(fuzz_targets)
print-fuzz-targets:
	@echo $(fuzz_targets)
.PHONY: fuzz-targets print-fuzz-targets

# Every allocation of our own code, and every one that a facade asks a library for, goes through the test's wrappers.
unit_tests += tests/oom/test_oom
tests_oom_test_oom_SOURCES = tests/oom/test_oom.c tests/oom/failing_alloc.c tests/oom/failing_alloc.h tests/unit/check.c
tests_oom_test_oom_LDADD = $(UNIT_MODEL_LIBS)
oom_link_flags = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup \
	-Wl,--wrap=vasprintf,--wrap=json_object_new_object,--wrap=json_object_new_array,--wrap=json_object_new_string \
	-Wl,--wrap=json_object_new_string_len,--wrap=json_object_new_int64,--wrap=json_object_new_boolean,--wrap=json_object_deep_copy \
	-Wl,--wrap=json_object_new_double,--wrap=json_object_object_add,--wrap=json_object_array_add \
	-Wl,--wrap=json_object_array_put_idx,--wrap=json_tokener_new_ex,--wrap=yaml_parser_initialize
tests_oom_test_oom_LDFLAGS = $(oom_link_flags)
unit_tests += tests/oom/test_oom_logs
tests_oom_test_oom_logs_SOURCES = tests/oom/test_oom_logs.c tests/oom/failing_alloc.c tests/oom/failing_alloc.h tests/unit/check.c
tests_oom_test_oom_logs_LDADD = $(UNIT_CORE_LIBS)
tests_oom_test_oom_logs_LDFLAGS = $(oom_link_flags)
tests_fuzz_fuzz_head_SOURCES = tests/fuzz/fuzz_head.c $(fuzz_main)
tests_fuzz_fuzz_head_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_head_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_frames_SOURCES = tests/fuzz/fuzz_frames.c $(fuzz_main)
tests_fuzz_fuzz_frames_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_frames_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_kube_SOURCES = tests/fuzz/fuzz_kube.c $(fuzz_main)
tests_fuzz_fuzz_kube_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_kube_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_tunnel_SOURCES = tests/fuzz/fuzz_tunnel.c $(fuzz_main)
tests_fuzz_fuzz_tunnel_LDADD = libcoreint.la libmodel.la libbase.la $(CORE_EXTERNAL)
tests_fuzz_fuzz_tunnel_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz_wire.c $(fuzz_main)
tests_fuzz_fuzz_wire_LDADD = libbase.la $(BASE_EXTERNAL)
tests_fuzz_fuzz_wire_LDFLAGS = $(AM_LDFLAGS) $(fuzz_link_flags)
