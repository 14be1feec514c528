-- Runs in each worker when it starts: the chart's nginx.conf names this file.
require("route_table").start()
