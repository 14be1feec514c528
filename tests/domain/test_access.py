from __future__ import annotations

import pytest
from tests.support.principals import administrator, granted, principal

from fedcore.errors import Denied, NotFound
from fedhub.domain.access import (
    EVERYWHERE,
    Permission,
    Resource,
    ResourceType,
    Scope,
    ScopeKind,
    authorize,
    not_found,
    visible,
)

READ = Permission.READ
MANAGE = Permission.MANAGE_FEDERATIONS
CREDIT = Scope(ScopeKind.FEDERATION, "fed-credit")
ALPHA = Scope(ScopeKind.SITE, "site-alpha")

FEDERATION = Resource(ResourceType.FEDERATION, "credit", federation_id="fed-credit")
OTHER_FEDERATION = Resource(ResourceType.FEDERATION, "fraud", federation_id="fed-fraud")
SITE = Resource(ResourceType.SITE, "alpha", site_id="site-alpha")
MEMBER = Resource(
    ResourceType.PARTICIPANT, "credit/9999", federation_id="fed-credit", site_id="site-alpha"
)
CHART = Resource(ResourceType.CHART, "abc")
ALL = (FEDERATION, OTHER_FEDERATION, SITE, MEMBER, CHART)


def may(who, action, resource):
    try:
        authorize(who, action, resource)
    except (Denied, NotFound):
        return False
    return True


def test_a_grant_everywhere_covers_every_resource():
    for permission in Permission:
        for resource in ALL:
            authorize(administrator(), permission, resource)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [(CREDIT, {FEDERATION, MEMBER}), (ALPHA, {SITE, MEMBER}), (EVERYWHERE, set(ALL))],
)
def test_a_grant_covers_what_belongs_to_its_scope_and_nothing_else(scope, covered):
    who = principal("ada", granted(scope, MANAGE))
    assert {resource for resource in ALL if may(who, MANAGE, resource)} == covered
    assert not any(may(who, Permission.MANAGE_SITES, resource) for resource in ALL)


@pytest.mark.parametrize("resource", ALL, ids=lambda resource: resource.name)
def test_the_filter_of_a_list_and_the_answer_for_one_resource_agree(resource):
    for scope in (CREDIT, ALPHA, EVERYWHERE):
        who = principal("ada", granted(scope, READ))
        assert visible(who, READ).covers(resource) == may(who, READ, resource)


def test_grants_add_up():
    who = principal("ada", granted(CREDIT, READ), granted(ALPHA, READ, MANAGE))
    seen = visible(who, READ)
    assert (seen.everything, seen.federation_ids, seen.site_ids) == (
        False,
        {"fed-credit"},
        {"site-alpha"},
    )
    assert visible(who, MANAGE).federation_ids == frozenset()
    with pytest.raises(Denied, match="ada may not manage_charts"):
        visible(who, Permission.MANAGE_CHARTS)


def test_who_may_read_a_resource_hears_that_it_may_not_change_it():
    reader = principal("ada", granted(CREDIT, READ))
    with pytest.raises(Denied, match="ada may not manage_federations"):
        authorize(reader, MANAGE, FEDERATION)


def test_who_may_not_read_a_resource_hears_what_it_would_hear_of_one_that_is_not_there():
    reader = principal("ada", granted(CREDIT, READ))
    with pytest.raises(NotFound) as hidden:
        authorize(reader, MANAGE, OTHER_FEDERATION)
    assert hidden.value.message == not_found(ResourceType.FEDERATION, "fraud").message


def test_what_belongs_to_nobody_and_what_the_call_would_make_are_refused_openly():
    reader = principal("ada", granted(CREDIT, READ))
    with pytest.raises(Denied):
        authorize(reader, READ, CHART)
    with pytest.raises(Denied):
        authorize(reader, MANAGE, OTHER_FEDERATION, hide=False)
