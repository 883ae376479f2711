# store: the databases, the writer, the repositories, the log store
libmodel_la_SOURCES += libosmo-core/model/logline.c libosmo-core/model/logline.h

libcoreint_la_SOURCES += \
    libosmo-core/store/driver.h libosmo-core/store/store.h libosmo-core/store/repo.h libosmo-core/store/logstore.h \
    libosmo-core/store/db.c libosmo-core/store/stmt_cache.c libosmo-core/store/stmt_cache.h \
    libosmo-core/store/sqlite.c libosmo-core/store/pgsql.c \
    libosmo-core/store/schema.c libosmo-core/store/schema.h libosmo-core/store/migrate.c \
    libosmo-core/store/store.c libosmo-core/store/writer.c libosmo-core/store/writer.h \
    libosmo-core/store/rows.c libosmo-core/store/rows.h libosmo-core/store/row_cache.c libosmo-core/store/row_cache.h libosmo-core/store/workflow_cols.h \
    libosmo-core/store/repo_workflow.c libosmo-core/store/repo_list.c libosmo-core/store/repo_tags.c libosmo-core/store/repo_tags.h libosmo-core/store/list_query.c libosmo-core/store/list_query.h libosmo-core/store/repo_task_list.c libosmo-core/store/repo_group.c \
    libosmo-core/store/repo_task.c libosmo-core/store/repo_work.c libosmo-core/store/repo_backend.c \
    libosmo-core/store/repo_event.c libosmo-core/store/repo_explain.c libosmo-core/store/repo_explain.h libosmo-core/store/repo_retention.c libosmo-core/store/repo_retention.h libosmo-core/store/repo_archive.c libosmo-core/store/repo_archive.h libosmo-core/store/repo_reconcile.c libosmo-core/store/repo_reconcile.h \
    libosmo-core/store/repo_submission.c libosmo-core/store/repo_pool.c libosmo-core/store/repo_pool.h libosmo-core/store/repo_identity.c \
    libosmo-core/store/repo_auth.h libosmo-core/store/repo_auth_users.c libosmo-core/store/repo_auth_tokens.c libosmo-core/store/repo_auth_objects.c libosmo-core/store/repo_auth_secrets.c libosmo-core/store/repo_secure.c libosmo-core/store/repo_secure.h \
    libosmo-core/store/repo_replica.c libosmo-core/store/repo_replica.h libosmo-core/store/repo_queues.c libosmo-core/store/repo_queues.h libosmo-core/store/repo_backend_end.c libosmo-core/store/repo_backend_end.h \
    libosmo-core/store/logstore.c libosmo-core/store/logstore_reader.c libosmo-core/store/logstore_int.h \
    libosmo-core/store/compress.c libosmo-core/store/compress.h libosmo-core/store/logstore_segment.c libosmo-core/store/logstore_segment.h \
    libosmo-core/store/logstore_load.c libosmo-core/store/logstore_seek.c libosmo-core/store/logstore_seal.c libosmo-core/store/logstore_sealer.c \
    libosmo-core/store/logstore_files.c libosmo-core/store/logstore_files_read.c \
    libosmo-core/store/logstore_file.c libosmo-core/store/logstore_file.h \
    libosmo-core/store/logstore_pgsql.c libosmo-core/store/logstore_pgsql.h libosmo-core/store/logstore_pgsql_write.c \
    libosmo-core/store/logstore_pgsql_marks.c \
    libosmo-core/store/logstore_pgsql_read.c libosmo-core/store/logstore_pgsql_upkeep.c

unit_tests += tests/unit/test_store tests/unit/test_writer tests/unit/test_row_cache tests/unit/test_repo tests/unit/test_repo_auth tests/unit/test_repo_lease tests/unit/test_logstore tests/unit/test_logstore_shared tests/unit/test_logline
store_fixture = tests/unit/check.c tests/unit/pgsql_fixture.c tests/unit/pgsql_fixture.h

tests_unit_test_store_SOURCES = tests/unit/test_store.c $(store_fixture)
tests_unit_test_store_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_writer_SOURCES = tests/unit/test_writer.c $(store_fixture)
tests_unit_test_writer_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_row_cache_SOURCES = tests/unit/test_row_cache.c $(store_fixture)
tests_unit_test_row_cache_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_repo_SOURCES = tests/unit/test_repo.c $(store_fixture)
tests_unit_test_repo_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_repo_auth_SOURCES = tests/unit/test_repo_auth.c $(store_fixture)
tests_unit_test_repo_auth_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_repo_lease_SOURCES = tests/unit/test_repo_lease.c $(store_fixture)
tests_unit_test_repo_lease_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_logstore_SOURCES = tests/unit/test_logstore.c $(store_fixture)
tests_unit_test_logstore_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_logstore_marks
tests_unit_test_logstore_marks_SOURCES = tests/unit/test_logstore_marks.c $(store_fixture)
tests_unit_test_logstore_marks_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_logstore_segments
tests_unit_test_logstore_segments_SOURCES = tests/unit/test_logstore_segments.c $(store_fixture)
tests_unit_test_logstore_segments_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_logstore_shared_SOURCES = tests/unit/test_logstore_shared.c $(store_fixture)
tests_unit_test_logstore_shared_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_logline_SOURCES = tests/unit/test_logline.c tests/unit/check.c
tests_unit_test_logline_LDADD = $(UNIT_MODEL_LIBS)
