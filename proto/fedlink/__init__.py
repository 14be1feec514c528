"""What a program needs that dials the hub: trust, identity, enrolment, a session that is kept up.

It knows neither documents nor a journal nor whose session it is. The agent hands in its calls and
its frames; another program that dials hands in others. The surface:

* ``enrolment.join``: verify the hub by its root's fingerprint, trade a token for a certificate
* ``identity``: who the program is, where that is kept, and the present certificate
* ``connection.HubConnection``: dial, redial with jitter, renew the certificate, for ever
* ``channel.LiveChannel``: the channel of the present session, for calls beside it
* ``stream.FrameStream``: the frames of one session, with time limits and typed errors
* ``timing.LinkTiming``: every wait of these
"""
