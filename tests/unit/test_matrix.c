/* Every route for everybody: people of each default role, tasks, backends, and tokens that must not work, in their own and in a foreign
 * pool. What the answer must be is said by actions_fixture.c, which knows nothing of the library's rules. */
#include "matrix_fixture.h"

#include "base/cleanup.h"
#include "engine/access.h"
#include "actions_fixture.h"

static struct matrix m;

/* ---- one request ---- */

struct request {
    const char *method;
    char path[300];
    const char *params[6]; /* what stands in the path, in order */
    bool socket;
};

/* Pool of the workflow that is named in the path; "" when there is no such workflow. */
static const char *pool_of(const char *name) {
    const struct seed *here[] = { &m.own, &m.other, &m.theirs };
    for (size_t i = 0; i < ARRAY_SIZE(here); i++)
        if (str_eq(name, here[i]->id) || str_eq(name, here[i]->uuid))
            return "default";
    return str_eq(name, m.foreign.id) || str_eq(name, m.foreign.uuid) ? FOREIGN_POOL : "";
}

/* What somebody who is bound to a task or a backend may do at most. */
static bool bound_allows(const struct person *p, const char *action, const char *resource, const struct request *rq) {
    static const char *const of_tasks[] = { "workflow:List", "workflow:Read", "pool:List", "resources:Read", "profile:Read" };
    static const char *const of_backends[] = { "pool:List" };
    const char *backend = p == &m.people[BACKEND] ? OWN_BACKEND : "other";
    if (p->kind == OF_TASK) {
        for (size_t i = 0; i < ARRAY_SIZE(of_tasks); i++)
            if (str_eq(of_tasks[i], action))
                return true;
        return str_starts(action, "internal:") && !str_starts(action, "internal:Op");
    }
    if (p->kind == OF_BACKEND) {
        if (str_eq(action, "config:Read"))
            return str_eq(resource, "config/backend_test") ||
                   (str_eq(resource, "config/backend") && (!rq->params[0] || str_eq(rq->params[0], backend)));
        if (str_eq(action, "internal:Operator"))
            return str_eq(resource + strlen("backend/"), backend);
        return str_eq(action, of_backends[0]);
    }
    return true;
}

/* Data is its owner's, and a task sees no workflows but those of its user. */
static bool is_of_others(const struct person *p, const struct request *rq) {
    bool theirs = str_eq(rq->params[0], m.theirs.id) || str_eq(rq->params[0], m.theirs.uuid);
    return theirs && (p->kind == OF_TASK || (str_starts(rq->path, "/api/storage/") && !str_eq(p->roles, "osmo-admin")));
}

static bool is_own_task(const struct person *p, const struct request *rq) {
    const struct seed *s = p == &m.people[TASK] ? &m.own : &m.other;
    return p->kind == OF_TASK && str_eq(rq->params[0], s->id);
}

/* By the path alone, where upstream has nothing to say or says it otherwise. */
static const char *action_of(const struct request *rq) {
    if (rq->socket && str_starts(rq->path, "/api/router/webserver/"))
        return "internal:Router";
    const char *action = registry_action(rq->method, rq->path);
    if (!action && str_ends(rq->path, "/tag"))
        return "workflow:Update";
    if (!action && str_starts(rq->path, "/api/storage/") && str_eq(rq->method, "GET"))
        return "workflow:Read";
    return action ? action : "";
}

static bool allowed(const struct person *p, const struct request *rq) {
    const char *action = action_of(rq), *name = rq->params[0];
    char resource[300] = "";
    bool admin = str_eq(p->roles, "osmo-admin");
    if (str_starts(rq->path, "/api/storage/") && is_own_task(p, rq))
        return str_eq(rq->method, "GET") || str_eq(rq->params[1], "t0");
    if (str_starts(action, "internal:Log"))
        return admin || (is_own_task(p, rq) && str_eq(rq->params[1], "t0") && str_eq(rq->params[2], "0"));
    if (str_starts(action, "internal:Router"))
        return admin || is_own_task(p, rq);
    if (str_starts(rq->path, "/api/pool/"))
        snprintf(resource, sizeof resource, "pool/%s", name);
    else if ((str_starts(rq->path, "/api/workflow/") || str_starts(rq->path, "/api/storage/")) && *action) {
        if (is_of_others(p, rq))
            return false;
        if (!*pool_of(name)) /* only those who may do it anywhere learn that there is none */
            return p->kind == BY_ROLES && plain_allows(p->roles, action, "pool/no-such");
        snprintf(resource, sizeof resource, "pool/%s", pool_of(name));
    } else if (str_starts(rq->path, "/api/router/") && rq->socket)
        snprintf(resource, sizeof resource, "pool/default"); /* which one it is the session asks */
    else if (str_starts(action, "config:"))
        snprintf(resource, sizeof resource, "config/%.*s", (int)strcspn(rq->path + 13, "/"), rq->path + 13);
    else if (str_starts(action, "internal:Op"))
        snprintf(resource, sizeof resource, "backend/%s", name);
    else if (str_starts(rq->path, "/api/auth/user/") && *action && !str_eq(name, p->user))
        snprintf(resource, sizeof resource, "user/%s", name);
    return bound_allows(p, action, resource, rq) && plain_allows(p->roles, action, resource);
}

/* ---- all of them ---- */

static size_t asked, permitted;

static void expect(const struct person *p, const struct request *rq, bool open, int status, const char *body) {
    bool good;
    asked++;
    if (str_eq(rq->path, "/api/internal/replica"))
        good = status == 404; /* there can be no other replica on this database */
    else if (open)
        good = status != 401 && status != 403 && status < 500;
    else if (p->kind == NOBODY && rq->socket) /* a signature alone has to do before a session is open; then the key is looked at */
        good = status == 401 || status == 403 || (status == 400 && str_starts(rq->path, "/api/router/"));
    else if (p->kind == NOBODY)
        good = status == 401;
    else if (!allowed(p, rq))
        good = status == 403;
    else {
        permitted++;
        /* not found is 500 in upstream's words here and there */
        bool missing = body && strstr(body, "does not exist");
        good = status != 401 && status != 403 && status != 429 && (status < 500 || missing || (rq->socket && status == 503));
    }
    if (!good)
        fprintf(stderr, "%s: %s %s: %d %s\n", p->name, rq->method, rq->path, status, body ? body : "");
    CHECK(good);
}

static void run(const struct person *p, const struct request *rq, bool open) {
    if (rq->socket) {
        expect(p, rq, open, upgrade_by(&m, p, rq->path), NULL);
        return;
    }
    struct answer a = ask_by(&m, p, rq->method, rq->path);
    expect(p, rq, open, a.status, a.body);
    if (a.status == 403) { /* a clear text that gives nothing away */
        CHECK_CONTAINS(a.body, "access denied");
        CHECK(!strstr(a.body, FOREIGN_POOL) || strstr(rq->path, FOREIGN_POOL));
    }
    answer_free(&a);
}

/* What may stand at the first place of a path. */
#define FIRST_MAX 10
static size_t choices(const char *pattern, const struct person *p, const char *out[FIRST_MAX]) {
    size_t n = 0;
    if (str_starts(pattern, "/api/pool/")) {
        out[n++] = "default";
        out[n++] = FOREIGN_POOL;
    } else if (str_starts(pattern, "/api/workflow/") || str_starts(pattern, "/api/storage/") || str_starts(pattern, "/api/logger/") ||
               str_starts(pattern, "/api/router/")) {
        out[n++] = m.own.id;
        out[n++] = m.foreign.id;
        out[n++] = m.other.id;
        out[n++] = m.theirs.id;
        if (str_starts(pattern, "/api/workflow/")) {
            out[n++] = m.own.uuid;
            out[n++] = m.foreign.uuid;
            out[n++] = m.theirs.uuid;
        }
        out[n++] = NOWHERE;
    } else if (str_starts(pattern, "/api/auth/user/")) {
        out[n++] = *p->user ? p->user : "ghost";
        out[n++] = "ghost";
    } else if (strstr(pattern, "backend")) {
        out[n++] = OWN_BACKEND;
        out[n++] = "other";
    } else {
        out[n++] = "ghost";
    }
    return n;
}

/* Those behind the first. */
static const char *later(const char *pattern, size_t i) {
    if (str_starts(pattern, "/api/pool/"))
        return m.own.id;
    if (str_starts(pattern, "/api/logger/"))
        return i == 1 ? "t0" : "0";
    return str_starts(pattern, "/api/storage/") && i == 1 ? "t0" : "ghost";
}

static void fill(struct request *rq, const char *pattern, const char *first) {
    char *w = rq->path;
    size_t n = 0;
    for (const char *p = pattern; *p; p++) {
        if (strncmp(p, "{}", 2)) {
            *w++ = *p;
            continue;
        }
        rq->params[n] = n ? later(pattern, n) : first;
        w = stpcpy(w, rq->params[n++]);
        p++;
    }
    *w = '\0';
}

static void every_choice(const struct person *p, const char *method, const char *pattern, bool socket, bool open) {
    const char *first[FIRST_MAX];
    size_t n = strstr(pattern, "{}") ? choices(pattern, p, first) : 1;
    for (size_t i = 0; i < n; i++) {
        struct request rq = { .method = method, .socket = socket };
        fill(&rq, pattern, first[i]);
        /* one's own account stays, so that one can go on */
        if (str_eq(method, "DELETE") && str_starts(pattern, "/api/auth/user/{}") && str_eq(first[i], p->user))
            continue;
        run(p, &rq, open);
    }
}

static void everything(const struct person *p) {
    struct ws_rule r;
    for (size_t i = 0; i < api_route_count; i++)
        every_choice(p, api_routes[i].method, api_routes[i].pattern, false, api_routes[i].flags & ROUTE_OPEN);
    for (size_t i = 0; ws_route_rule(i, &r); i++)
        every_choice(p, "GET", r.pattern, true, false);
}

/* Those that change things come last: what an administrator cancels is finished for its tasks. */
static void matrix(void) {
    REQUIRE(matrix_open(&m));
    for (int i = 0; i < PEOPLE; i++)
        everything(&m.people[i]);
    fprintf(stderr, "# %zu requests, %zu permitted\n", asked, permitted);
    CHECK(asked > 2000 && permitted > 300);
    matrix_close(&m);
}

/* A few of them in words, in case that both readings of the rules should have gone wrong. */
static void in_words(void) {
    static const struct { int who; const char *method, *path; int status; } cases[] = {
        { USER_ROLE, "GET", "/api/workflow/foreign-1", 200 },
        { USER_ROLE, "POST", "/api/workflow/foreign-1/cancel", 403 },
        { USER_ROLE, "POST", "/api/workflow/" NOWHERE "/cancel", 403 },
        { ADMIN_ROLE, "POST", "/api/workflow/" NOWHERE "/cancel", 400 },
        { USER_ROLE, "POST", "/api/pool/team/workflow", 403 },
        { USER_ROLE, "GET", "/api/auth/user/root/access_token", 403 },
        { USER_ROLE, "GET", "/api/auth/user/ana/access_token", 200 },
        { USER_ROLE, "GET", "/api/auth/user", 403 },
        { ADMIN_ROLE, "GET", "/api/auth/user/ana/access_token", 200 },
        { BACKEND, "GET", "/api/configs/backend", 200 },
        { BACKEND, "GET", "/api/configs/backend/other", 403 },
        { BACKEND, "GET", "/api/profile/settings", 403 },
        { BACKEND, "GET", "/api/auth/access_token", 403 },
        { TASK, "GET", "/api/auth/access_token", 403 },
        { TASK, "GET", "/api/credentials", 403 },
        { TASK, "POST", "/api/pool/default/workflow", 403 },
        { TASK, "GET", "/api/workflow/own-1", 200 },
        { TASK, "PUT", "/api/storage/other-1/t0/x", 403 },
        { CTRL_ROLE, "GET", "/api/workflow", 403 },
        { DEFAULT_ONLY, "GET", "/api/profile/settings", 200 },
        { DEFAULT_ONLY, "GET", "/api/resources", 403 },
        { REVOKED, "GET", "/api/profile/settings", 401 },
    };
    REQUIRE(matrix_open(&m));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask_by(&m, &m.people[cases[i].who], cases[i].method, cases[i].path);
        if (a.status != cases[i].status)
            fprintf(stderr, "%s: %s %s: %s\n", m.people[cases[i].who].name, cases[i].method, cases[i].path, a.body);
        CHECK_INT(a.status, cases[i].status);
        answer_free(&a);
    }
    static const struct { int who; const char *path; int status; } sockets[] = {
        { BACKEND, "/api/agent/listener/pod/backend/default", 101 },
        { BACKEND, "/api/agent/listener/pod/backend/other", 403 },
        { OTHER_BACKEND, "/api/agent/worker/backend/default", 403 },
        { BACKEND_ROLE, "/api/agent/worker/backend/default", 101 },
        { USER_ROLE, "/api/agent/worker/backend/default", 403 },
        { TASK, "/api/logger/workflow/own-1/osmo_ctrl/t0/retry_id/0", 101 },
        { TASK, "/api/logger/workflow/own-1/osmo_ctrl/t1/retry_id/0", 403 },
        { TASK, "/api/logger/workflow/own-1/osmo_ctrl/t0/retry_id/1", 403 },
        { OTHER_TASK, "/api/logger/workflow/own-1/osmo_ctrl/t0/retry_id/0", 403 },
        { CTRL_ROLE, "/api/logger/workflow/own-1/osmo_ctrl/t0/retry_id/0", 403 },
        { EXPIRED, "/api/logger/workflow/own-1/osmo_ctrl/t0/retry_id/0", 401 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
        CHECK_INT(upgrade_by(&m, &m.people[sockets[i].who], sockets[i].path), sockets[i].status);
    matrix_close(&m);
}

/* The pools that are shown are those one may use: none rather than all. */
static void shown_pools(void) {
    static const struct { int who; const char *pools; size_t concise; } cases[] = {
        { ADMIN_ROLE, "[\"default\",\"team\"]", 2 }, { USER_ROLE, "[\"default\"]", 1 }, { DEFAULT_ONLY, "[]", 0 },
        { TASK, "[\"default\"]", 1 },
    };
    REQUIRE(matrix_open(&m));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct person *p = &m.people[cases[i].who];
        struct answer a = ask_by(&m, p, "GET", "/api/profile/settings");
        _cleanup_free_ char *pools = json_to_text(json_get(a.json, "pools"));
        CHECK_STR(pools, cases[i].pools);
        answer_free(&a);
        a = ask_as(&m.f, p->token, "GET", "/api/resources", "concise=true", NULL);
        CHECK_INT(a.status, cases[i].who == DEFAULT_ONLY ? 403 : 200);
        CHECK_INT(json_len(json_get(a.json, "pools")), cases[i].concise);
        answer_free(&a);
    }
    matrix_close(&m);
}

static void put_role(const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *v = NULL;
    struct role r;
    const struct role *list[] = { &r };
    CHECK_OK(json_parse(text, strlen(text), &v, &err), &err);
    CHECK_OK(role_read(v, &r, &err), &err);
    CHECK_OK(access_put_roles(m.f.engine, list, 1, &err), &err);
    role_clear(&r);
}

/* Somebody whose role reaches one pool sees what is in it, and takes nothing out of others. */
static void one_pool(void) {
    static const struct { const char *method, *path, *query, *body; int status; } cases[] = {
        { "GET", "/api/workflow/foreign-1", NULL, NULL, 200 },
        { "GET", "/api/workflow/own-1", NULL, NULL, 403 },
        { "GET", "/api/workflow/" NOWHERE, NULL, NULL, 403 },
        { "POST", "/api/pool/team/workflow", "workflow_id=own-1", NULL, 403 },
        { "POST", "/api/pool/team/workflow", "workflow_id=foreign-1", NULL, 400 }, /* it has no text, but may be asked for */
        { "POST", "/api/pool/team/workflow/own-1/restart", NULL, NULL, 403 },
        { "POST", "/api/pool/team/workflow/foreign-1/restart", NULL, NULL, 400 },
        { "POST", "/api/workflow/foreign-1/tag", NULL, NULL, 200 },
        { "POST", "/api/workflow/own-1/tag", NULL, NULL, 403 },
        { "GET", "/api/plugins/configs", NULL, NULL, 200 },
    };
    static const struct { const char *path, *query, *member; size_t n; } lists[] = {
        { "/api/workflow", "all_users=true&all_pools=true", "workflows", 1 },
        { "/api/workflow", "all_users=true&pools=default&pools=team", "workflows", 1 },
        { "/api/workflow", "all_users=true&pools=default", "workflows", 0 },
        { "/api/task", "all_users=true&all_pools=true", "tasks", 1 },
        { "/api/task", "all_users=true&pools=default", "tasks", 0 },
    };
    REQUIRE(matrix_open(&m));
    put_role("{\"name\":\"limited\",\"description\":\"\",\"policies\":[{\"actions\":\"workflow:*\",\"resources\":\"pool/team\"}]}");
    _cleanup_free_ char *token = person_jwt(&m, "lim", "limited", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask_as(&m.f, token, cases[i].method, cases[i].path, cases[i].query, cases[i].body);
        if (a.status != cases[i].status)
            fprintf(stderr, "%s %s?%s: %s\n", cases[i].method, cases[i].path, cases[i].query ? cases[i].query : "", a.body);
        CHECK_INT(a.status, cases[i].status);
        answer_free(&a);
    }
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct answer a = ask_as(&m.f, token, "GET", lists[i].path, lists[i].query, NULL);
        CHECK_INT(a.status, 200);
        CHECK_INT(json_len(json_get(a.json, lists[i].member)), lists[i].n);
        answer_free(&a);
    }
    struct answer a = ask_by(&m, &m.people[USER_ROLE], "GET", "/api/workflow/own-1");
    CHECK_INT(a.status, 200);
    answer_free(&a);
    put_role("{\"name\":\"osmo-user\",\"description\":\"\",\"policies\":[{\"actions\":\"workflow:*\",\"resources\":\"pool/team\"}]}");
    a = ask_by(&m, &m.people[USER_ROLE], "GET", "/api/workflow/own-1"); /* the same token: what is taken is taken */
    CHECK_INT(a.status, 403);
    answer_free(&a);
    matrix_close(&m);
}

static const struct check_test matrix_tests[] = {
    { "every route for everybody", matrix }, { "in words", in_words }, { "pools that are shown", shown_pools }, { "one pool", one_pool },
};
TEST_MAIN("matrix", matrix_tests)
