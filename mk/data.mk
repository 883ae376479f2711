# data/: storage addresses, credentials, drivers, transfers. An archive of its own for programs that do without the core.
data_sources = libosmo-core/data/uri.c libosmo-core/data/uri.h libosmo-core/data/data_credentials.c libosmo-core/data/data_credentials.h \
	libosmo-core/data/sigv4.c libosmo-core/data/sigv4.h libosmo-core/data/xml.c libosmo-core/data/xml.h \
	libosmo-core/data/session.c libosmo-core/data/session.h libosmo-core/data/remote.c libosmo-core/data/remote.h \
	libosmo-core/data/s3.c libosmo-core/data/s3_ops.c libosmo-core/data/s3.h libosmo-core/data/service.c libosmo-core/data/local.c \
	libosmo-core/data/azure.c libosmo-core/data/azure_sign.c libosmo-core/data/azure_sign.h \
	libosmo-core/data/run.c libosmo-core/data/run.h libosmo-core/data/files.h libosmo-core/data/walk.c libosmo-core/data/upload.c \
	libosmo-core/data/download.c libosmo-core/data/parts_up.c libosmo-core/data/parts_down.c \
	libosmo-core/data/transfer.c libosmo-core/data/transfer.h
noinst_LTLIBRARIES += libdata.la
libdata_la_SOURCES = $(data_sources)
libcoreint_la_SOURCES += $(data_sources)
libcoreint_la_SOURCES += libosmo-core/data/object_store.c libosmo-core/data/object_store.h libosmo-core/data/object_file.c \
	libosmo-core/data/object_remote.c

unit_tests += tests/unit/test_data_uri
tests_unit_test_data_uri_SOURCES = tests/unit/test_data_uri.c tests/unit/check.c tests/unit/check.h
tests_unit_test_data_uri_LDADD = libdata.la $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_data_sign
tests_unit_test_data_sign_SOURCES = tests/unit/test_data_sign.c tests/unit/check.c tests/unit/check.h
tests_unit_test_data_sign_LDADD = libdata.la $(UNIT_BASE_LIBS)
storage_server = tests/unit/storage_server.c tests/unit/storage_server.h tests/unit/storage_server_int.h tests/unit/storage_server_s3.c \
	tests/unit/storage_server_other.c
transfer_fixture = tests/unit/transfer_fixture.c tests/unit/transfer_fixture.h $(storage_server)
unit_tests += tests/unit/test_data_transfer
tests_unit_test_data_transfer_SOURCES = tests/unit/test_data_transfer.c $(transfer_fixture) tests/unit/check.c tests/unit/check.h
tests_unit_test_data_transfer_LDADD = libdata.la $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_object_remote
tests_unit_test_object_remote_SOURCES = tests/unit/test_object_remote.c $(storage_server) tests/unit/check.c tests/unit/check.h
tests_unit_test_object_remote_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_data_access
tests_unit_test_data_access_SOURCES = tests/unit/test_data_access.c $(transfer_fixture) tests/unit/check.c tests/unit/check.h
tests_unit_test_data_access_LDADD = libdata.la $(UNIT_BASE_LIBS)
