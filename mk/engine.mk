# engine/ (auth, logs and storage are in api.mk) and the state machines of model/
libmodel_la_SOURCES += \
	libosmo-core/model/status.c libosmo-core/model/status.h \
	libosmo-core/model/sm.c libosmo-core/model/sm.h \
	libosmo-core/model/sm_workflow.c libosmo-core/model/sm_workflow.h \
	libosmo-core/model/reconcile.c libosmo-core/model/reconcile.h \
	libosmo-core/model/explain.c libosmo-core/model/explain.h
libcoreint_la_SOURCES += \
	libosmo-core/engine/engine.h libosmo-core/engine/engine_internal.h \
	libosmo-core/engine/engine.c libosmo-core/engine/config.c libosmo-core/engine/config_objects.c libosmo-core/engine/config_objects.h libosmo-core/engine/waker.c \
	libosmo-core/engine/reactor_internal.h libosmo-core/engine/reactor.c \
	libosmo-core/engine/reactor_rules.c libosmo-core/engine/reactor_retry.c libosmo-core/engine/reactor_jobs.c libosmo-core/engine/cause.c \
	libosmo-core/engine/submit_internal.h libosmo-core/engine/submit.c \
	libosmo-core/engine/submit_again.c libosmo-core/engine/submit_checks.c libosmo-core/engine/submit_dry.c libosmo-core/engine/submit_store.c \
	libosmo-core/engine/submit_rows.h libosmo-core/engine/submit_rows.c libosmo-core/engine/submit_images.c \
	libosmo-core/engine/credentials.c libosmo-core/engine/credentials.h libosmo-core/engine/registry.c libosmo-core/engine/registry.h \
	libosmo-core/engine/masks.c libosmo-core/engine/masks.h \
	libosmo-core/engine/submit_resources.c \
	libosmo-core/engine/replicas.h libosmo-core/engine/replicas.c libosmo-core/engine/replica_internal.h \
	libosmo-core/engine/replica_channel.c libosmo-core/engine/replica_hints.c \
	libosmo-core/engine/clock.c libosmo-core/engine/retention.c libosmo-core/engine/explain.c libosmo-core/engine/explain.h \
	libosmo-core/engine/timers.c libosmo-core/engine/work.c libosmo-core/engine/watch.c \
	libosmo-core/engine/agent_internal.h libosmo-core/engine/agent.c libosmo-core/engine/agent_dispatch.c libosmo-core/engine/agent_follow.c libosmo-core/engine/agent_strays.c libosmo-core/engine/backends.c libosmo-core/engine/backends.h \
	libosmo-core/engine/agent_frames.c libosmo-core/engine/agent_jobs.c libosmo-core/engine/agent_kinds.c \
	libosmo-core/engine/agent_messages.c libosmo-core/engine/agent_nodes.c \
	libosmo-core/engine/reconcile.c libosmo-core/engine/reconcile.h libosmo-core/engine/offline.c \
	libosmo-core/engine/queues.c libosmo-core/engine/queues.h \
	libosmo-core/engine/vault.c libosmo-core/engine/vault.h libosmo-core/engine/vault_internal.h \
	libosmo-core/engine/vault_file.c libosmo-core/engine/vault_rotate.c

unit_tests += tests/unit/test_status
tests_unit_test_status_SOURCES = tests/unit/test_status.c tests/unit/check.c tests/unit/check.h
tests_unit_test_status_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_sm
tests_unit_test_sm_SOURCES = tests/unit/test_sm.c tests/unit/check.c tests/unit/check.h
tests_unit_test_sm_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_sm_explore
tests_unit_test_sm_explore_SOURCES = tests/unit/test_sm_explore.c tests/unit/check.c tests/unit/check.h
tests_unit_test_sm_explore_LDADD = $(UNIT_MODEL_LIBS)
engine_fixture = tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/engine_fixture.c tests/unit/engine_fixture.h tests/unit/pgsql_fixture.c tests/unit/pgsql_fixture.h \
	tests/unit/check.c tests/unit/check.h
unit_tests += tests/unit/test_engine
tests_unit_test_engine_SOURCES = tests/unit/test_engine.c $(engine_fixture)
tests_unit_test_engine_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_retry
tests_unit_test_retry_SOURCES = tests/unit/test_retry.c $(engine_fixture)
tests_unit_test_retry_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_backends
tests_unit_test_backends_SOURCES = tests/unit/test_backends.c $(engine_fixture)
tests_unit_test_backends_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_interop_agent
tests_unit_test_interop_agent_SOURCES = tests/unit/test_interop_agent.c $(engine_fixture)
tests_unit_test_interop_agent_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_submit
tests_unit_test_submit_SOURCES = tests/unit/test_submit.c $(engine_fixture)
tests_unit_test_submit_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_explain
tests_unit_test_explain_SOURCES = tests/unit/test_explain.c tests/unit/check.c tests/unit/check.h
tests_unit_test_explain_LDADD = $(UNIT_MODEL_LIBS)
unit_tests += tests/unit/test_objects
tests_unit_test_objects_SOURCES = tests/unit/test_objects.c tests/unit/pgsql_fixture.c tests/unit/pgsql_fixture.h tests/unit/check.c tests/unit/check.h
tests_unit_test_objects_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_vault
tests_unit_test_vault_SOURCES = tests/unit/test_vault.c tests/unit/pgsql_fixture.c tests/unit/pgsql_fixture.h tests/unit/check.c tests/unit/check.h
tests_unit_test_vault_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_archive
tests_unit_test_archive_SOURCES = tests/unit/test_archive.c $(engine_fixture)
tests_unit_test_archive_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_replicas tests/unit/test_replicas_dead
replicas_fixture = $(engine_fixture) tests/unit/replicas_fixture.c tests/unit/replicas_fixture.h
tests_unit_test_replicas_SOURCES = tests/unit/test_replicas.c $(replicas_fixture)
tests_unit_test_replicas_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_replicas_dead_SOURCES = tests/unit/test_replicas_dead.c $(replicas_fixture)
tests_unit_test_replicas_dead_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_logs_replicas
tests_unit_test_logs_replicas_SOURCES = tests/unit/test_logs_replicas.c $(replicas_fixture)
tests_unit_test_logs_replicas_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_keys_replicas
tests_unit_test_keys_replicas_SOURCES = tests/unit/test_keys_replicas.c $(replicas_fixture)
tests_unit_test_keys_replicas_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_upkeep
tests_unit_test_upkeep_SOURCES = tests/unit/test_upkeep.c $(engine_fixture)
tests_unit_test_upkeep_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_queues
tests_unit_test_queues_SOURCES = tests/unit/test_queues.c $(engine_fixture)
tests_unit_test_queues_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_reconcile
tests_unit_test_reconcile_SOURCES = tests/unit/test_reconcile.c $(engine_fixture)
tests_unit_test_reconcile_LDADD = $(UNIT_CORE_LIBS)
invalid_fixture = tests/unit/invalid_fixture.c tests/unit/invalid_fixture.h tests/unit/service_fixture.c tests/unit/service_fixture.h \
	tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c tests/unit/check.h
unit_tests += tests/unit/test_invalid tests/unit/test_invalid_tasks
tests_unit_test_invalid_SOURCES = tests/unit/test_invalid.c $(invalid_fixture)
tests_unit_test_invalid_LDADD = $(UNIT_CORE_LIBS)
tests_unit_test_invalid_tasks_SOURCES = tests/unit/test_invalid_tasks.c $(invalid_fixture)
tests_unit_test_invalid_tasks_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_replica_channel
tests_unit_test_replica_channel_SOURCES = tests/unit/test_replica_channel.c tests/unit/service_fixture.h tests/unit/service_fixture.c \
	tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/pgsql_fixture.c tests/unit/pgsql_fixture.h tests/unit/check.c tests/unit/check.h
tests_unit_test_replica_channel_LDADD = $(UNIT_CORE_LIBS)
# In front of several services in the system tests.
noinst_PROGRAMS += tests/system/relay
tests_system_relay_SOURCES = tests/system/relay.c
tests_system_relay_LDADD = -lpthread
# Looks for secrets where there must be none.
noinst_PROGRAMS += tests/system/needles
tests_system_needles_SOURCES = tests/system/needles.c
tests_system_needles_LDADD =
unit_tests += tests/unit/test_interop_upgrade
tests_unit_test_interop_upgrade_SOURCES = tests/unit/test_interop_upgrade.c tests/unit/service_fixture.h tests/unit/service_fixture.c \
	tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/check.c tests/unit/check.h
tests_unit_test_interop_upgrade_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_config_replicas
tests_unit_test_config_replicas_SOURCES = tests/unit/test_config_replicas.c tests/unit/service_fixture.h tests/unit/service_fixture.c \
	tests/unit/signing_key.c tests/unit/signing_key.h tests/unit/pgsql_fixture.c tests/unit/pgsql_fixture.h tests/unit/check.c tests/unit/check.h
tests_unit_test_config_replicas_LDADD = $(UNIT_CORE_LIBS)
unit_tests += tests/unit/test_submit_credentials
tests_unit_test_submit_credentials_SOURCES = tests/unit/test_submit_credentials.c $(engine_fixture)
tests_unit_test_submit_credentials_LDADD = $(UNIT_CORE_LIBS)
