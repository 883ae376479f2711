#!/usr/bin/env bash
# The root directories of the container images: each program starts in its own with nothing of this machine, as any user; what osmo_init lays
# out is whole, also at its second start, and the client runs in an image without a C library. Then render.sh: its values, and what it refuses.
. "$(dirname "$0")/lib.sh"
trap 'rm -rf "$work"' EXIT
if [[ $EUID != 0 ]]; then echo "entering other root directories needs root"; exit 77; fi
version=$(sed -nE 's/^AC_INIT\(\[[^]]*\], \[([^]]*)\].*/\1/p' "$root/configure.ac")

# In a root directory, with /proc and /dev, as user $2: what is there is what an image has.
inside() { # directory, user, command
    local dir=$1 user=$2
    shift 2
    unshare --mount -- bash -c 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot --userspec="$1:0" "$0" "${@:2}"' "$dir" "$user" "$@" 2>&1
}

make -s -C "$bin" install prefix=/usr DESTDIR="$work/tree" > "$work/install.log" 2>&1 || { cat "$work/install.log"; exit 1; }
mkdir "$work/rsync" # building it takes a minute and the network: what has its place is something else here
cp /bin/busybox "$work/rsync/rsync"
echo "its terms" > "$work/rsync/copyright"
echo "rsync 1.2-3 amd64" > "$work/rsync/origin"
check "the root directories are made" "$root/packaging/images/build.sh" --destdir "$work/tree" --rsync "$work/rsync" --rootfs "$work/roots"
check_has "the runtime tells where its rsync is from" "$(cat "$work/roots/runtime/var/lib/dpkg/status.d/rsync" "$work/roots/runtime/usr/share/doc/rsync/copyright")" "Version: 1.2-3"
roots=$work/roots
for user in 0 1001 4321; do
    check_has "service as $user" "$(inside "$roots/service" $user osmo-service --version)" "osmo-service $version"
    check_has "backend as $user" "$(inside "$roots/backend" $user osmo-backend --version)" "osmo-backend $version"
    check_has "osmo-node-test as $user" "$(inside "$roots/backend" $user osmo-node-test --help)" "sage: osmo-node-test"
    check_has "client as $user" "$(inside "$roots/runtime" $user osmo --version)" "osmo $version"
    check_has "osmo_ctrl as $user" "$(inside "$roots/runtime" $user /usr/libexec/osmo/osmo_ctrl)" "-workflow, -logSource and -socketPath are needed"
done
for image in service backend runtime; do
    size=$(du -sm --apparent-size "$roots/$image" | cut -f 1)
    check "the $image is small ($size MB)" test "$size" -lt 45
    check "the $image has no shell" test ! -e "$roots/$image/usr/bin/sh"
    check "the $image has certificates" test -s "$roots/$image/usr/lib/ssl/../../../etc/ssl/certs/ca-certificates.crt"
    broken=$(find "$roots/$image" -xtype l -printf '%P -> %l\n' | grep -v '> /')
    check_eq "no link of the $image leads nowhere" "$broken" ""
    check "the $image tells its packages" test -s "$roots/$image/var/lib/dpkg/status.d/libc6"
done
# A library that is opened on first use: a connection is tried, and fails for another reason.
check_has "libcurl is there" "$(inside "$roots/service" 1001 osmo login http://127.0.0.1:1 --method token --token "$(printf 'a%.0s' {1..43})")" "127.0.0.1"
check_has "libpq is there" "$(inside "$roots/service" 0 osmo-service --data-dir /tmp/d --listen 127.0.0.1:0 --database postgresql://127.0.0.1:1/x)" "127.0.0.1"

# ---- what osmo_init lays out ----

pod=$roots/runtime/run/pod
mkdir -p "$pod"/{binaries,data,login,bin,run,secrets}
chmod 777 "$pod"/{binaries,data,login,bin,run}
echo 'url: http://x' > "$pod/secrets/login.yaml"
lay_out() {
    inside "$roots/runtime" 1001 osmo_init --data_location /run/pod/data --login_location /run/pod/login --user_bin_location /run/pod/bin \
        --run_location /run/pod/run --binaries_location /run/pod/binaries --secrets_location /run/pod/secrets "$@"
}
check "osmo_init" lay_out
for f in binaries/osmo/osmo_ctrl binaries/osmo/osmo_exec data/socket data/output login/ctrl/config/login.yaml login/user/config/login.yaml \
    run/workspace bin/osmo; do
    check "it made $f" test -e "$pod/$f"
done
rmdir "$pod/data/socket"
rm "$pod/login/user/config/login.yaml"
check "osmo_init after one that was interrupted" lay_out
check "finishes its work" test -e "$pod/login/user/config/login.yaml" -a -d "$pod/data/socket"
rm "$pod/login/user/config/login.yaml"
check "osmo_init once more" lay_out
check "does nothing" test ! -e "$pod/login/user/config/login.yaml"
check "no rsync where none is wanted" test ! -e "$pod/bin/rsync"
rmdir "$pod/data/socket"
check "osmo_init with rsync" lay_out --enable_rsync
check "puts it where osmo_exec looks" cmp "$work/rsync/rsync" "$pod/bin/rsync"

# A user's image that has nothing but a static program.
mkdir -p "$work/user"/{bin,proc,dev,tmp,osmo/usr}
cp /bin/busybox "$work/user/bin/sh"
cp -a "$pod/bin" "$work/user/osmo/usr/bin"
check_has "the client where there is no C library" "$(inside "$work/user" 1001 /bin/sh -c 'LD_PRELOAD=/no.so /osmo/usr/bin/osmo --version')" "osmo $version"
check_has "osmo_exec where there is no C library" "$(cp "$pod/binaries/osmo/osmo_exec" "$work/user/bin/"; inside "$work/user" 1001 /bin/osmo_exec)" \
    "-commands and -socketPath are needed"

# ---- build.sh and render.sh ----

refused() { # what, text, command
    local what=$1 text=$2 out
    shift 2
    out=$("$@" 2>&1 > /dev/null)
    check_eq "$what: exit status" "$?" 2
    check_has "$what" "$out" "$text"
    check_eq "$what: one line" "$(wc -l <<< "$out")" 1
}
images=$root/packaging/images/build.sh render=$root/packaging/kubernetes/render.sh
refused "no such image" "unknown argument 'client'" "$images" client
refused "no value" "--tag needs a value" "$images" --tag
given=(--name gpu-1 --service https://osmo.mine.example:8443)
refused "no name" "--name and --service are needed" "$render" --service https://x
refused "a name that is none" "not 'GPU_1'" "$render" --name GPU_1 --service https://x
refused "an address that is none" "not 'osmo.example'" "$render" --name a --service osmo.example
refused "an address with a path" "not 'https://x/y'" "$render" --name a --service https://x/y
refused "an addon that is none" "no addon 'usage'" "$render" "${given[@]}" --with usage
refused "a part that stays" "not 'rbac'" "$render" "${given[@]}" --without rbac
refused "a scheduler that is none" "not 'best'" "$render" "${given[@]}" --scheduler best
refused "a file that is not there" "/no/token cannot be read" "$render" "${given[@]}" --token-file /no/token
refused "an option that is none" "unknown argument '--nam'" "$render" --nam a

# Values that are names of something else in the files come out as they went in.
printf 'secret\n' > "$work/token"
printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' > "$work/ca.pem"
"$render" "${given[@]}" --operator-namespace osmo-workflows --workflow-namespace osmo-test --test-namespace my-cluster --image r.example/my-cluster:1 \
    --with node-tests,network-policy,pod-monitor,node-labels --without usage,priority-classes --replicas 1 --token-file "$work/token" --ca-file "$work/ca.pem" > "$work/out"
check_eq "render.sh" "$?" 0
out=$(< "$work/out")
for text in 'OSMO_SERVICE_URL: https://osmo.mine.example:8443' 'OSMO_BACKEND_NAME: gpu-1' 'OSMO_WORKFLOW_NAMESPACE: osmo-test' \
    'OSMO_TEST_NAMESPACE: my-cluster' 'image: r.example/my-cluster:1' 'OSMO_TEST_IMAGE: r.example/my-cluster:1' 'name: osmo-backend:gpu-1' \
    'resourceNames: [osmo-backend-gpu-1]' 'replicas: 1' 'OSMO_USAGE: namespace' 'OSMO_SCHEDULER: osmo' 'ENABLE_NODE_LABEL_UPDATE: "true"' \
    'SSL_CERT_FILE: /etc/osmo/ca/ca.crt' '  token: c2VjcmV0' '    AAAA' 'kind: PodMonitor'; do
    check_has "rendered: $text" "$out" "$text"
done
for text in 'osmo-operator' 'osmo.example.com' 'PriorityClass' 'osmo-backend-usage' 'podgroups'; do
    check_eq "not rendered: $text" "$(grep -c "$text" "$work/out")" 0
done
check_has "with KAI" "$("$render" "${given[@]}" --scheduler kai)" "podgroups"
check_has "the manifests name this version" "$("$render" "${given[@]}")" "image: osmo/backend:$version"
check_has "the service's too" "$(cat "$root"/packaging/kubernetes/service/*/*.yaml)" "image: osmo/service:$version"
if command -v python3 > /dev/null && python3 -c 'import yaml' 2> /dev/null; then
    check_eq "it is YAML" "$(python3 -c 'import sys, yaml; print(all(d["kind"] and d["metadata"]["name"] for d in yaml.safe_load_all(sys.stdin)))' < "$work/out")" True
fi
((failures == 0))
