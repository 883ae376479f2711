# The client. Links the base archive alone, so that it starts in milliseconds.
bin_PROGRAMS += osmo
osmo_SOURCES = cli/main.c cli/cli.h cli/opt.c cli/table.c cli/login.c cli/api.c cli/list.c cli/follow.c cli/cmd_submit.c cli/cmd_explain.c cli/cmd_workflow.c cli/cmd_tag.c cli/cmd_task.c cli/cmd_pool.c cli/cmd_up.c
osmo_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/cli
osmo_LDADD = libbase.la $(BASE_EXTERNAL)

unit_tests += tests/unit/test_cli
tests_unit_test_cli_SOURCES = tests/unit/test_cli.c tests/unit/check.c tests/unit/peer.c cli/opt.c cli/table.c cli/login.c cli/api.c cli/follow.c \
	cli/cmd_submit.c
tests_unit_test_cli_CPPFLAGS = $(osmo_CPPFLAGS)
tests_unit_test_cli_LDADD = $(UNIT_BASE_LIBS)
