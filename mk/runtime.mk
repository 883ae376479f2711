# In-pod programs, under the names that specs and other implementations know. They link the convenience libraries, never the shared ones.
noinst_HEADERS += daemons/runtime/flags.h daemons/runtime/link.h daemons/osmo-ctrl/ctrl.h daemons/osmo-ctrl/actions.h \
	daemons/osmo-ctrl/action_parse.h daemons/osmo-exec/exec.h \
	daemons/osmo-exec/checkpoint.h daemons/osmo-exec/escapes.h daemons/osmo-exec/pty.h daemons/osmo-exec/rsync.h daemons/osmo-exec/pace.h daemons/osmo-exec/session.h \
	daemons/osmo-exec/words.h
osmolibexec_PROGRAMS += osmo_cli osmo_ctrl osmo_exec osmo_init

osmo_ctrl_SOURCES = daemons/osmo-ctrl/main.c daemons/osmo-ctrl/spool.c daemons/osmo-ctrl/token.c daemons/osmo-ctrl/logger.c \
	daemons/osmo-ctrl/termination.c daemons/osmo-ctrl/actions.c daemons/osmo-ctrl/action_parse.c daemons/osmo-ctrl/dial.c \
	daemons/osmo-ctrl/session_exec.c daemons/osmo-ctrl/forward.c daemons/osmo-ctrl/forward_udp.c daemons/osmo-ctrl/forward_ws.c \
	daemons/osmo-ctrl/checkpoint.c daemons/osmo-ctrl/exec_link.c $(ctrl_transfer_sources) daemons/runtime/flags.c daemons/runtime/link.c daemons/runtime/link_lines.c daemons/runtime/link_lines.h
osmo_ctrl_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
osmo_ctrl_LDADD = libmodel.la libdata.la libbase.la $(BASE_EXTERNAL)

# Runs inside any user image: static, small, without name look-up or TLS, and never instrumented.
osmo_exec_SOURCES = daemons/osmo-exec/main.c daemons/osmo-exec/command.c daemons/osmo-exec/connect.c daemons/osmo-exec/helpers.c \
	daemons/osmo-exec/session.c daemons/osmo-exec/pty.c daemons/osmo-exec/words.c daemons/osmo-exec/escapes.c daemons/osmo-exec/checkpoint.c \
	daemons/osmo-exec/checkpoint_parse.c \
	daemons/osmo-exec/rsync.c daemons/osmo-exec/pace.c daemons/runtime/flags.c daemons/runtime/link.c \
	libosmo-core/base/buf.c libosmo-core/base/str.c libosmo-core/base/clock.c libosmo-core/base/error.c libosmo-core/base/json.c libosmo-core/base/file.c
osmo_exec_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
osmo_exec_CFLAGS = $(AM_CFLAGS) -fno-sanitize=all -ffunction-sections -fdata-sections
osmo_exec_LDFLAGS = -all-static -Wl,--gc-sections
osmo_exec_LDADD = $(JSONC_LIBS) -lm

# Starts the client inside any user image; static for the same reason.
osmo_cli_SOURCES = daemons/osmo-init/client.c
osmo_cli_CFLAGS = $(AM_CFLAGS) -fno-sanitize=all -ffunction-sections -fdata-sections
osmo_cli_LDFLAGS = -all-static -Wl,--gc-sections

osmo_init_SOURCES = daemons/osmo-init/main.c daemons/runtime/flags.c
osmo_init_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
osmo_init_LDADD = libbase.la $(BASE_EXTERNAL)

unit_tests += tests/unit/test_spool
tests_unit_test_spool_SOURCES = tests/unit/test_spool.c tests/unit/check.c daemons/osmo-ctrl/spool.c daemons/runtime/link.c daemons/runtime/link_lines.c
tests_unit_test_spool_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_spool_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_exec
tests_unit_test_exec_SOURCES = tests/unit/test_exec.c tests/unit/exec_fixture.c tests/unit/exec_fixture.h tests/unit/check.c daemons/runtime/link.c
tests_unit_test_exec_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_exec_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_ctrl_actions
tests_unit_test_ctrl_actions_SOURCES = tests/unit/test_ctrl_actions.c tests/unit/ctrl_fixture.c tests/unit/ctrl_fixture.h tests/unit/ws_peer.c \
	tests/unit/ws_peer.h tests/unit/check.c
tests_unit_test_ctrl_actions_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_exec_sessions
tests_unit_test_exec_sessions_SOURCES = tests/unit/test_exec_sessions.c tests/unit/exec_fixture.c tests/unit/exec_fixture.h tests/unit/check.c \
	daemons/runtime/link.c
tests_unit_test_exec_sessions_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_exec_sessions_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_runtime_parts
tests_unit_test_runtime_parts_SOURCES = tests/unit/test_runtime_parts.c tests/unit/check.c daemons/osmo-exec/pace.c daemons/runtime/link.c daemons/osmo-ctrl/action_parse.c \
	daemons/osmo-exec/escapes.c daemons/osmo-exec/words.c daemons/osmo-exec/checkpoint_parse.c
tests_unit_test_runtime_parts_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_runtime_parts_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_ctrl_peers
tests_unit_test_ctrl_peers_SOURCES = tests/unit/test_ctrl_peers.c tests/unit/ctrl_fixture.c tests/unit/ctrl_fixture.h tests/unit/ws_peer.c \
	tests/unit/ws_peer.h tests/unit/peer.c tests/unit/peer.h tests/unit/check.c daemons/runtime/link.c
tests_unit_test_ctrl_peers_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_ctrl_peers_LDADD = $(UNIT_BASE_LIBS)

# A static rsync beside osmo_exec, from Debian's source package, for tasks whose images have none.
install-rsync:
	$(BASH) $(srcdir)/tools/static-rsync.sh static-rsync
	$(MKDIR_P) '$(DESTDIR)$(osmolibexecdir)'
	$(INSTALL_PROGRAM) static-rsync/rsync '$(DESTDIR)$(osmolibexecdir)/rsync'
	rm -rf static-rsync
.PHONY: install-rsync
unit_tests += tests/unit/test_ctrl_token
tests_unit_test_ctrl_token_SOURCES = tests/unit/test_ctrl_token.c tests/unit/peer.c tests/unit/peer.h tests/unit/check.c daemons/osmo-ctrl/token.c
tests_unit_test_ctrl_token_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_ctrl_token_LDADD = $(UNIT_BASE_LIBS)
