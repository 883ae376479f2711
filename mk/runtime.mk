# In-pod programs, under the names that specs and other implementations know. They link the convenience libraries, never the shared ones.
libcoreint_la_SOURCES += libosmo-core/data/storage_client.c libosmo-core/data/storage_client.h
libcoreint_la_SOURCES += libosmo-core/data/object_store.c libosmo-core/data/object_store.h libosmo-core/data/object_file.c
noinst_HEADERS += daemons/runtime/flags.h daemons/runtime/link.h daemons/osmo-ctrl/ctrl.h daemons/osmo-exec/exec.h
osmolibexec_PROGRAMS += osmo_cli osmo_ctrl osmo_exec osmo_init

osmo_ctrl_SOURCES = daemons/osmo-ctrl/main.c daemons/osmo-ctrl/spool.c daemons/osmo-ctrl/token.c daemons/osmo-ctrl/logger.c \
	daemons/osmo-ctrl/exec_link.c daemons/osmo-ctrl/transfer.c daemons/runtime/flags.c daemons/runtime/link.c libosmo-core/data/storage_client.c
osmo_ctrl_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
osmo_ctrl_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)

# Runs inside any user image: static, small, without name look-up or TLS, and never instrumented.
osmo_exec_SOURCES = daemons/osmo-exec/main.c daemons/osmo-exec/command.c daemons/osmo-exec/connect.c daemons/runtime/flags.c daemons/runtime/link.c \
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
tests_unit_test_spool_SOURCES = tests/unit/test_spool.c tests/unit/check.c daemons/osmo-ctrl/spool.c daemons/runtime/link.c
tests_unit_test_spool_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_spool_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_exec
tests_unit_test_exec_SOURCES = tests/unit/test_exec.c tests/unit/check.c daemons/runtime/link.c
tests_unit_test_exec_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_exec_LDADD = $(UNIT_BASE_LIBS)
