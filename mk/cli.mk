# The client. Links archives, not the shared libraries, so that it starts in milliseconds.
bin_PROGRAMS += osmo
osmo_SOURCES = cli/main.c
osmo_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/cli
osmo_LDADD = libcli.la libdata.la libbase.la $(BASE_EXTERNAL)

# Everything but main(): tests take from it what they call.
noinst_LTLIBRARIES += libcli.la
libcli_la_CPPFLAGS = $(osmo_CPPFLAGS)
libcli_la_SOURCES = cli/cli.h cli/opt.c cli/table.c cli/api.c cli/list.c cli/follow.c cli/lines.c cli/cmd_logs.c cli/cmd_submit.c \
	cli/cmd_explain.c cli/cmd_workflow.c cli/cmd_tag.c cli/cmd_task.c cli/cmd_token.c cli/cmd_keys.c cli/cmd_user.c cli/cmd_pool.c \
	cli/cmd_backend.c cli/cmd_profile.c cli/cmd_config.c cli/cmd_credential.c cli/cmd_data.c cli/edit.c cli/cmd_up.c
# logging in
libcli_la_SOURCES += cli/login.c cli/login.h cli/login_prompt.c cli/login_refresh.c cli/login_provider.c cli/oidc.c cli/login_methods.c \
	cli/login_pkce.c cli/login_device.c cli/loopback.c
# interactive sessions
libcli_la_SOURCES += cli/forward.c cli/forward.h cli/forward_spec.c cli/forward_session.c cli/forward_tcp.c cli/forward_udp.c \
	cli/router.c cli/router.h cli/terminal.c cli/terminal.h cli/exec_session.c cli/exec_session.h cli/cmd_exec.c cli/cmd_forward.c \
	cli/rsync.h cli/rsync_paths.c cli/rsync_run.c cli/rsync_watch.c cli/rsync_state.c cli/rsync_state.h cli/rsync_daemon.c cli/cmd_rsync.c
UNIT_CLI_LIBS = libcli.la libdata.la $(UNIT_BASE_LIBS)

capture = tests/unit/capture.c tests/unit/capture.h
unit_tests += tests/unit/test_cli
tests_unit_test_cli_SOURCES = tests/unit/test_cli.c tests/unit/check.c tests/unit/peer.c $(capture)
tests_unit_test_cli_CPPFLAGS = $(osmo_CPPFLAGS)
tests_unit_test_cli_LDADD = $(UNIT_CLI_LIBS)

unit_tests += tests/unit/test_cli_users
tests_unit_test_cli_users_SOURCES = tests/unit/test_cli_users.c tests/unit/check.c tests/unit/peer.c $(capture)
tests_unit_test_cli_users_CPPFLAGS = $(osmo_CPPFLAGS)
tests_unit_test_cli_users_LDADD = $(UNIT_CLI_LIBS)

unit_tests += tests/unit/test_login
tests_unit_test_login_SOURCES = tests/unit/test_login.c tests/unit/check.c tests/unit/peer.c $(capture)
tests_unit_test_login_CPPFLAGS = $(osmo_CPPFLAGS)
tests_unit_test_login_LDADD = $(UNIT_CLI_LIBS)
oidc_files = tests/oidc/package.json tests/oidc/package-lock.json tests/oidc/packages.sh tests/oidc/provider.mjs tests/oidc/browser.mjs \
	tests/oidc/test_oidc.sh

noinst_PROGRAMS += tests/system/pty
tests_system_pty_SOURCES = tests/system/pty.c
tests_system_pty_LDADD = -lutil
noinst_PROGRAMS += tests/system/ports
tests_system_ports_SOURCES = tests/system/ports.c
tests_system_ports_LDADD =

unit_tests += tests/unit/test_cli_sessions
tests_unit_test_cli_sessions_SOURCES = tests/unit/test_cli_sessions.c tests/unit/check.c
tests_unit_test_cli_sessions_CPPFLAGS = $(osmo_CPPFLAGS)
tests_unit_test_cli_sessions_LDADD = $(UNIT_CLI_LIBS) -lutil
