# Figures; nothing here is a test.
noinst_PROGRAMS += tests/bench/measure
tests_bench_measure_SOURCES = tests/bench/measure.c
tests_bench_measure_LDADD = libbase.la
noinst_PROGRAMS += tests/bench/size
tests_bench_size_SOURCES = tests/bench/size.c
tests_bench_size_LDADD = libbase.la
noinst_PROGRAMS += tests/bench/schedule
tests_bench_schedule_SOURCES = tests/bench/schedule.c
tests_bench_schedule_LDADD = libmodel.la libbase.la
noinst_PROGRAMS += tests/bench/language
tests_bench_language_SOURCES = tests/bench/language.c
tests_bench_language_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
EXTRA_DIST += tests/bench/language.py

bench: all
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/bench.sh
	tests/bench/schedule 1000 10000
	tests/bench/schedule 10000 100000
	OSMO_BUILD='$(abs_top_builddir)' $(BASH) $(srcdir)/tests/bench/size.sh
	$(MAKE) bench-language
# Needs python3-jinja2 and python3-yaml, the peers.
bench-language: tests/bench/language
	$${PYTHON:-/usr/bin/python3} $(srcdir)/tests/bench/language.py tests/bench/language
.PHONY: bench bench-language
