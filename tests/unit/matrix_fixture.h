/* A service with two pools, two backends and people of every default role, and every kind of token that must not work. For test_matrix and
 * test_paths. */
#ifndef TESTS_MATRIX_FIXTURE_H
#define TESTS_MATRIX_FIXTURE_H
#include "service_fixture.h"

#define OWN_BACKEND "default"
#define FOREIGN_POOL "team"
#define NOWHERE "ghost-1" /* a workflow that does not exist */

enum person_kind { BY_ROLES, OF_TASK, OF_BACKEND, NOBODY };
struct person {
    const char *name, *roles, *user;
    enum person_kind kind;
    char *token;      /* a JWT or what passes for one; NULL: no token */
};
enum {
    NO_TOKEN, EXPIRED, FOREIGN_KEY, ALG_NONE, ALG_CONFUSED, NOT_YET, REVOKED, NO_USER_ANY_MORE, ENDED_TASK,
    TASK, OTHER_TASK, BACKEND, OTHER_BACKEND, DEFAULT_ONLY, CTRL_ROLE, BACKEND_ROLE, USER_ROLE, ADMIN_ROLE, PEOPLE
};
struct matrix {
    struct fixture f;
    struct seed own, foreign, other; /* of ana: in pool default, in the foreign one, and another one in pool default */
    struct seed theirs;              /* of theo, in pool default */
    struct person people[PEOPLE];
};
bool matrix_open(struct matrix *m);
void matrix_close(struct matrix *m);
/* A new user with one role, an access token, perhaps for one backend alone, and the JWT for it, which the caller frees. */
char *person_jwt(struct matrix *m, const char *user, const char *role, const char *backend);
struct answer ask_by(struct matrix *m, const struct person *p, const char *method, const char *path);
/* 101, or the status of the refusal. */
int upgrade_by(struct matrix *m, const struct person *p, const char *path);
#endif
