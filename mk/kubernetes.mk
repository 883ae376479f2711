# The Kubernetes driver of libosmo-backend and its client.
libbackendint_la_SOURCES += libosmo-backend/cluster/kubernetes/reflector.h
