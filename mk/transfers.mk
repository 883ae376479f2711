# What uses data/: the client's and osmo_ctrl's side of transfers.
data_test_files = tests/data/requirements.txt tests/data/packages.sh tests/data/harness.py tests/data/storage.py tests/data/test_client.py \
	tests/data/test_workflows.py tests/data/test_azure.py tests/data/azure/package.json tests/data/azure/package-lock.json
data_sources += libosmo-core/data/data_environment.c libosmo-core/data/data_environment.h libosmo-core/data/progress.c libosmo-core/data/progress.h

unit_tests += tests/unit/test_data_environment
tests_unit_test_data_environment_SOURCES = tests/unit/test_data_environment.c tests/unit/check.c tests/unit/check.h
tests_unit_test_data_environment_LDADD = libdata.la $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_data_progress
tests_unit_test_data_progress_SOURCES = tests/unit/test_data_progress.c tests/unit/check.c tests/unit/check.h
tests_unit_test_data_progress_LDADD = libdata.la $(UNIT_BASE_LIBS)
noinst_HEADERS += daemons/osmo-ctrl/transfer.h
ctrl_transfer_sources = daemons/osmo-ctrl/transfer.c daemons/osmo-ctrl/transfer_spec.c daemons/osmo-ctrl/transfer_session.c \
	daemons/osmo-ctrl/transfer_check.c
unit_tests += tests/unit/test_transfer_spec
tests_unit_test_transfer_spec_SOURCES = tests/unit/test_transfer_spec.c tests/unit/check.c tests/unit/check.h daemons/osmo-ctrl/transfer_spec.c
tests_unit_test_transfer_spec_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/daemons
tests_unit_test_transfer_spec_LDADD = libdata.la $(UNIT_BASE_LIBS)
libcoreint_la_SOURCES += libosmo-core/store/repo_task_io.c libosmo-core/store/repo_task_io.h libosmo-core/engine/task_io.c libosmo-core/engine/task_io.h \
	libosmo-core/engine/data_access.c libosmo-core/engine/data_access.h libosmo-core/engine/submit_data.c
unit_tests += tests/unit/test_task_io
tests_unit_test_task_io_SOURCES = tests/unit/test_task_io.c $(store_fixture)
tests_unit_test_task_io_LDADD = $(UNIT_CORE_LIBS)
