/**
 * @file osmo/core.h
 * @brief Umbrella header of libosmo-core.
 */
#ifndef OSMO_CORE_H
#define OSMO_CORE_H
#include <osmo/error.h>
#include <osmo/policy.h>
#include <osmo/scheduler.h>
#include <osmo/server.h>
#include <osmo/service.h>
#include <osmo/spec.h>
#include <osmo/template.h>
#include <osmo/version.h>
#endif
