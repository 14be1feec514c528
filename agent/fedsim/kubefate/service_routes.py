"""The routes about the service itself: its root, its version, login and logout."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import structlog
from aiohttp import web

from fedsim.faults import FaultName
from fedsim.kubefate.core import Core
from fedsim.kubefate.gin import Route, failure, refusal, reply
from fedsim.kubefate.specs import BindError, bind

log = structlog.get_logger()
Parameters = Mapping[str, str]


class ServiceRoutes:
    """Answers for the service; there is the one user that is made at its start."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/", self._root, is_open=True),
            Route("GET", "/v1/", self._error_path, is_open=True),
            Route("POST", "/v1/user/login", self._login, is_open=True),
            Route("POST", "/v1/user/logout", self._logout, is_open=True),
            Route("GET", "/v1/version/", self._version),
        ]

    async def _root(self, _: web.Request, __: Parameters) -> web.Response:
        return reply({"msg": "kubefate run Success"})

    async def _error_path(self, _: web.Request, __: Parameters) -> web.Response:
        return failure(400, "error path")

    async def _version(self, _: web.Request, __: Parameters) -> web.Response:
        return reply({"msg": "getVersion Success", "version": self._core.settings.version})

    async def _login(self, request: web.Request, _: Parameters) -> web.Response:
        await self._core.clock.sleep(self._core.faults.seconds(FaultName.SLOW_LOGIN))
        try:
            body = bind(await request.read())
        except BindError:
            return refusal(401, "missing Username or Password")
        username, password = (str(body.get(key) or "") for key in ("username", "password"))
        if not self._is_valid(username, password):
            log.info("login.refused", username=username)
            return refusal(401, "incorrect Username or Password")
        token, expires = self._core.tokens.issue(username, self._core.clock.now())
        until = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        return reply({"code": 200, "expire": until, "token": token})

    def _is_valid(self, username: str, password: str) -> bool:
        if self._core.faults.strikes(FaultName.LOGIN_FAILS):
            return False
        pairs = zip((username, password), (self._core.username, self._core.password), strict=True)
        return all(hmac.compare_digest(*map(str.encode, pair)) for pair in pairs)

    async def _logout(self, _: web.Request, __: Parameters) -> web.Response:
        return reply({"code": 200})
