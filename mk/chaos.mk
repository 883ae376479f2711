# The chaos test (./run-tests --chaos): a backend whose cluster survives it, and the model as an oracle of end states.
chaos_programs = tests/chaos/chaos-backend tests/chaos/model
check_PROGRAMS += $(chaos_programs)
tests_chaos_chaos_backend_SOURCES = daemons/osmo-backend/main.c daemons/osmo-backend/options.c daemons/osmo-backend/options.h tests/chaos/cluster.c
tests_chaos_chaos_backend_LDADD = libbackendint.la libmodel.la libbase.la $(BASE_EXTERNAL)
tests_chaos_model_SOURCES = tests/chaos/model.c
tests_chaos_model_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
EXTRA_DIST += tests/chaos/runs tests/chaos/chaos.py tests/chaos/logloss.py tests/chaos/shapes.py tests/chaos/actors.py tests/chaos/checks.py tests/tsan.supp
print-chaos-programs:
	@echo $(chaos_programs)
.PHONY: print-chaos-programs
