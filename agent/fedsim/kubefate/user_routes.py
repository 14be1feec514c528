"""The routes of users: login, and the leaky rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kubefate.api import body_of
from fedsim.kubefate.auth import hash_password, is_valid_login, make_user
from fedsim.kubefate.core import Core
from fedsim.kubefate.records import User
from fedsim.kubefate.replies import failure, refusal, reply, success
from fedsim.kubefate.routing import Route
from fedsim.kubefate.specs import BindError, bind
from fedsim.kubefate.state import RecordNotFoundError

Parameters = Mapping[str, str]
log = structlog.get_logger()


class UserRoutes:
    """Log in and out; create, list, read and delete users."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("POST", "/v1/user/login", self._login, is_open=True),
            Route("POST", "/v1/user/logout", self._logout, is_open=True),
            Route("POST", "/v1/user", self._create),
            Route("GET", "/v1/user/", self._list),
            Route("GET", "/v1/user/{uuid}", self._get),
            Route("PUT", "/v1/user/{uuid}", self._change),
            Route("DELETE", "/v1/user/{uuid}", self._delete),
        ]

    async def _login(self, request: web.Request, _: Parameters) -> web.Response:
        await self._core.clock.sleep(self._core.faults.seconds(FaultName.SLOW_LOGIN))
        try:
            given = bind(await body_of(request))
        except BindError:
            return refusal(401, "missing Username or Password")
        username, password = (str(given.get(key) or "") for key in ("username", "password"))
        if not await self._is_valid(username, password):
            log.info("login.refused", username=username)
            return refusal(401, "incorrect Username or Password")
        token, expires = self._core.tokens.issue(username, self._core.clock.now())
        until = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        return reply({"code": 200, "expire": until, "token": token})

    async def _is_valid(self, username: str, password: str) -> bool:
        if self._core.faults.strikes(FaultName.LOGIN_FAILS):
            return False
        rounds = self._core.settings.password_rounds
        return await asyncio.to_thread(is_valid_login, self._core.state, username, password, rounds)

    async def _logout(self, _: web.Request, __: Parameters) -> web.Response:
        return reply({"code": 200})

    async def _create(self, request: web.Request, _: Parameters) -> web.Response:
        try:
            given = bind(await body_of(request))
        except BindError as error:
            return failure(400, str(error))
        username, password, email = (
            str(given.get(key) or "") for key in ("username", "password", "email")
        )
        if self._core.state.users.find(lambda row: row.username == username):
            return failure(500, "User is existed.")
        user = make_user(username, password, email, self._core.settings.password_rounds)
        self._core.state.users.add(user)
        return success("createCluster Success", user.wire())

    async def _list(self, _: web.Request, __: Parameters) -> web.Response:
        users = self._core.state.users.all()
        return success("getUserList Success", [user.wire() for user in users])

    async def _get(self, _: web.Request, given: Parameters) -> web.Response:
        try:
            user = self._find(given)
        except RecordNotFoundError as error:
            zero = {"ID": 0, "CreatedAt": _ZERO, "UpdatedAt": _ZERO, "DeletedAt": None}
            return _twice({"error": str(error)}, {"data": zero, "msg": "getUser Success"})
        body = {key: value for key, value in user.wire().items() if key != "password"}
        return success("getUser Success", body)

    async def _change(self, request: web.Request, _: Parameters) -> web.Response:
        """Change the user whose number is in the body, whatever the path says."""
        try:
            given = bind(await body_of(request))
        except BindError as error:
            return failure(400, str(error))
        number = given.get("ID")
        user = self._core.state.users.find(lambda row: row.id == number)
        if user is None:
            return _twice({"error": "record not found"}, {"msg": "setUser Success"})
        salt = str(given.get("salt") or "")
        rounds = self._core.settings.password_rounds
        user.password = hash_password(str(given.get("password") or ""), salt, rounds)
        user.salt = salt or user.salt
        user.email = str(given.get("email") or user.email)
        self._core.state.users.save(user)
        return success("setUser Success")

    async def _delete(self, _: web.Request, given: Parameters) -> web.Response:
        try:
            self._core.state.users.remove(self._find(given))
        except RecordNotFoundError as error:
            return _twice({"error": str(error)}, {"msg": "deleteUser Success"})
        return success("deleteUser Success")

    def _find(self, given: Parameters) -> User:
        return self._core.state.users.get(lambda row: row.uuid == given["uuid"])


_ZERO = "0001-01-01T00:00:00Z"


def _twice(error: Any, body: Any) -> web.Response:
    """Send two JSON bodies, one behind the other: the real handlers forget to return."""
    first, second = reply(error), reply(body)
    return web.Response(
        status=500,
        text=f"{first.text}{second.text}",
        content_type="application/json",
        charset="utf-8",
    )
