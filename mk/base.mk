# base/: what everything stands on (crypto, http and the websocket client are in net.mk)
libbase_la_SOURCES += \
	libosmo-core/base/buf.c libosmo-core/base/buf.h \
	libosmo-core/base/cleanup.h \
	libosmo-core/base/clock.c libosmo-core/base/clock.h \
	libosmo-core/base/cond.c libosmo-core/base/cond.h \
	libosmo-core/base/error.c libosmo-core/base/error.h \
	libosmo-core/base/file.c libosmo-core/base/file.h \
	libosmo-core/base/hash.h \
	libosmo-core/base/json.c libosmo-core/base/json.h \
	libosmo-core/base/json_reader.c libosmo-core/base/json_reader.h \
	libosmo-core/base/log.c libosmo-core/base/log.h \
	libosmo-core/base/map.c libosmo-core/base/map.h \
	libosmo-core/base/queue.c libosmo-core/base/queue.h \
	libosmo-core/base/re.c libosmo-core/base/re.h \
	libosmo-core/base/secret.c libosmo-core/base/secret.h \
	libosmo-core/base/str.c libosmo-core/base/str.h \
	libosmo-core/base/version.c \
	libosmo-core/base/yaml.c libosmo-core/base/yaml.h libosmo-core/base/yaml_internal.h libosmo-core/base/yaml_construct.c \
	libosmo-core/base/yaml_emit.c libosmo-core/base/yaml_error.c libosmo-core/base/yaml_json.c libosmo-core/base/yaml_resolve.c \
	libosmo-core/base/yaml_strict.c

unit_tests += tests/unit/test_base
tests_unit_test_base_SOURCES = tests/unit/test_base.c tests/unit/check.c tests/unit/check.h
tests_unit_test_base_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_json
tests_unit_test_json_SOURCES = tests/unit/test_json.c tests/unit/check.c
tests_unit_test_json_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_json_reader
tests_unit_test_json_reader_SOURCES = tests/unit/test_json_reader.c tests/unit/reader_walk.c tests/unit/reader_walk.h tests/unit/check.c
tests_unit_test_json_reader_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_json_reader_portable
tests_unit_test_json_reader_portable_SOURCES = $(tests_unit_test_json_reader_SOURCES) libosmo-core/base/json_reader.c
tests_unit_test_json_reader_portable_CPPFLAGS = $(AM_CPPFLAGS) -DJSON_READER_PORTABLE
tests_unit_test_json_reader_portable_LDADD = $(UNIT_BASE_LIBS)
unit_tests += tests/unit/test_yaml
tests_unit_test_yaml_SOURCES = tests/unit/test_yaml.c tests/unit/check.c
tests_unit_test_yaml_LDADD = $(UNIT_BASE_LIBS)
