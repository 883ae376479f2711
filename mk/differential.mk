# Differential tests: templates against Jinja2, YAML against PyYAML. `./run-tests --differential` runs every tests/differential/*_compare.py
# and names.py; `make check` builds the programs they ask.
differential_programs = tests/differential/render tests/differential/yaml_load
tests_differential_render_SOURCES = tests/differential/render.c
tests_differential_render_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
tests_differential_yaml_load_SOURCES = tests/differential/yaml_load.c
tests_differential_yaml_load_LDADD = libbase.la $(BASE_EXTERNAL)

differential_scripts = tests/differential/template_tables.py tests/differential/template_corpus.py \
	tests/differential/template_compare.py tests/differential/templates.txt \
	tests/differential/exceptions.txt tests/differential/names.py tests/differential/yaml_corpus.py tests/differential/yaml_compare.py \
	tests/differential/yaml_exceptions.txt
EXTRA_DIST += $(differential_scripts)

differential-programs: $(differential_programs)
print-differential-programs:
	@echo $(differential_programs)
.PHONY: differential-programs print-differential-programs
