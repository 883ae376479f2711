# Figures; nothing here is a test.
noinst_PROGRAMS += tests/bench/measure
tests_bench_measure_SOURCES = tests/bench/measure.c
tests_bench_measure_LDADD = libbase.la
bench: all
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/bench.sh
.PHONY: bench
