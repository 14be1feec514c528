"""What the hub's and the portal's web servers share: routes with OpenAPI, and problems."""
