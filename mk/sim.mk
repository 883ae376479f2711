# The simulator of the scheduler.
bin_PROGRAMS += osmo-sim
osmo_sim_SOURCES = daemons/osmo-sim/main.c daemons/osmo-sim/load.c daemons/osmo-sim/sim.h
osmo_sim_LDADD = libmodel.la libbase.la $(BASE_EXTERNAL)
dist_man_MANS += doc/man/osmo-sim.1
