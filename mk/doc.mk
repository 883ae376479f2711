# API reference of the public headers; any warning is an error.
dist_man_MANS += doc/man/osmo.1 doc/man/osmo-service.8 doc/man/osmo-backend.8 doc/man/osmo-node-test.1
if HAVE_DOXYGEN
doc:
	$(MKDIR_P) doc/api
	$(DOXYGEN) doc/Doxyfile
else
doc:
	@echo "doxygen is missing: install it and configure again"; exit 1
endif
.PHONY: doc
clean-local:
	rm -rf doc/api
