# Machine-kept rules of the code; each is a test of `make check`.
check_SCRIPTS += tools/check-layers.sh tools/check-style.sh tools/check-headers.sh tools/check-symbols.sh

print-unit-tests:
	@echo $(unit_tests)
.PHONY: print-unit-tests
