"""The certificate authority: it knows no transport and no SQL; the hub embeds it."""
