# Users, roles and access tokens by the client, on both databases: made, used, listed, taken away; who is refused afterwards.
. "$(dirname "$0")/lib.sh"
as_bob() { OSMO_CONFIG_FILE_DIR=$work/bob "$osmo" "$@"; }
refused() { # what, exit code, part of the message, command...
    local what=$1 code=$2 part=$3
    shift 3
    "$@" > "$work/o" 2>&1; check_eq "$what" "$?" "$code"
    check_has "$what: why" "$(< "$work/o")" "$part"
}

users() {
    start_service || exit 1
    login; check_eq "the administrator logs in" "$?" 0
    mkdir -m 700 "$work/bob" "$work/nobody"
    check_eq "create" "$("$osmo" user create bob@example.org)" "User bob@example.org is created."
    refused "create again" 2 "User bob@example.org exists already" "$osmo" user create bob@example.org
    refused "create with a bad name" 2 "cannot name a user" "$osmo" user create bob/example
    refused "create with an unknown role" 2 "Role king does not exist" "$osmo" user create eve -r osmo-user king
    refused "which leaves nothing" 2 "User eve does not exist" "$osmo" user get eve
    refused "a token without a role" 2 "has no role" "$osmo" token set laptop --user bob@example.org
    check_eq "give roles" "$("$osmo" user update bob@example.org -a osmo-user osmo-backend)" \
        "User bob@example.org has role osmo-user."$'\n'"User bob@example.org has role osmo-backend."
    check_eq "take one" "$("$osmo" user update bob@example.org --remove-roles osmo-backend)" \
        "User bob@example.org does not have role osmo-backend any more."
    check_has "update as JSON shows the user" "$("$osmo" user update bob@example.org -a osmo-user -t json)" '"role_name": "osmo-user"'
    refused "update without roles" 2 "--add-roles or --remove-roles" "$osmo" user update bob@example.org
    out=$("$osmo" user get bob@example.org)
    check_has "get" "$out" "User ID: bob@example.org"
    check_has "get: roles" "$out" "- osmo-user (by admin, "
    out=$("$osmo" user list)
    check_has "list: total" "$out" "Total users: 2"
    check_has "list: head" "$out" "User ID           Created At"
    check_has "list: row" "$out" "bob@example.org   $(date -u +%Y-)"
    check_has "list by prefix" "$("$osmo" user list -p bob -t json)" '"total_results": 1'
    check_has "list by role" "$("$osmo" user list -r osmo-admin)" "Total users: 1"
    check_eq "list a few" "$("$osmo" user list -c 1 -t json | grep -c '"id"')" 1

    "$osmo" token set laptop --user bob@example.org -d 'on the desk' -e "$(date -u -d '+20 days' +%Y-%m-%d)" > "$work/o" 2> "$work/e"
    check_eq "make a token" "$?" 0
    token=$(sed -n 's/^Access token: //p' "$work/o")
    check_eq "it has 43 characters" "${#token}" 43
    check_has "and is shown once" "$(< "$work/e")" "only now"
    refused "the same name again" 2 "exists already" "$osmo" token set laptop --user bob@example.org
    refused "a date that has passed" 2 "must be after today" "$osmo" token set old -e 2020-01-01
    refused "a date too late" 2 "365 days at most" "$osmo" token set old -e 2999-01-01
    as_bob login "$url" --method token --token-file <(printf %s "$token") > "$work/o" 2>&1; check_eq "bob logs in" "$?" 0
    check_has "as himself" "$(as_bob profile list)" "bob@example.org"
    out=$(as_bob token list)
    check_has "his tokens: head" "$out" "Name     Description   Active   Expires At (UTC)   Roles"
    check_has "his tokens: row" "$out" "laptop   on the desk   True     $(date -u -d '+20 days' +%Y-%m-%d)         osmo-user"
    check_has "roles of it" "$(as_bob token roles laptop)" "osmo-user   admin"
    check_has "one that he makes" "$(as_bob token create second -t json 2>/dev/null)" '"token": "'
    check_eq "lasts 31 days" "$(as_bob token list -t json | grep -c "$(date -u -d '+31 days' +%Y-%m-%d)T00:00:00")" 1
    refused "with a role he does not have" 2 "does not have role osmo-admin" as_bob token set third -r osmo-admin
    refused "for somebody else" 2 "access denied" as_bob token set third --user admin
    refused "the list of users" 2 "administrators" as_bob user list
    refused "a role for himself" 2 "administrators" as_bob user update bob@example.org -a osmo-admin
    refused "a token for a backend" 2 "needs role osmo-backend" as_bob token set third --backend east
    check_eq "delete one" "$(as_bob token delete second)" "Access token second is deleted."
    refused "delete it again" 2 "Access token second does not exist" as_bob token delete second
    check_has "seen by the administrator" "$("$osmo" token list -u bob@example.org -t json)" '"token_name": "laptop"'

    printf n | "$osmo" user delete bob@example.org > "$work/o"; check_has "deleting asks" "$(< "$work/o")" "Nothing is deleted."
    check_has "so he is there" "$(as_bob token list)" "laptop"
    check_has "deleting" "$(printf 'y\n' | "$osmo" user delete bob@example.org)" "User bob@example.org is deleted."
    as_bob token list > "$work/o" 2>&1; check_eq "refused at once" "$?" 2
    OSMO_CONFIG_FILE_DIR=$work/nobody "$osmo" login "$url" --method token --token-file <(printf %s "$token") > "$work/o" 2>&1
    check_eq "and cannot log in" "$?" 2
    refused "delete again" 2 "User bob@example.org does not exist" "$osmo" user delete -f bob@example.org
    check_eq "the token was kept nowhere" \
        "$(grep -ralF -e "$token" "$work/data" "$work/service.log" ${database:+"$work/pgsql"} 2>/dev/null)" ""

    check_has "the administrator takes his own role" "$("$osmo" user update admin -r osmo-admin)" "any more"
    refused "and may do nothing more" 2 "administrators" "$osmo" user list
    stop_all
    start_service || exit 1
    login; check_eq "a restart gives a new token" "$?" 0
    check_has "that may again" "$("$osmo" user list)" "Total users: 1"
    stop_all
}
users
database=$("$root/tests/pgsql-server" start "$work/pgsql") || { fail "a private PostgreSQL"; exit 1; }
rm -rf "$work/data" "$work/bob" "$work/nobody"
mkdir -m 700 "$work/data"
users
"$root/tests/pgsql-server" stop "$work/pgsql"
