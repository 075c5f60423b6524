"""Small figures as data, and their drawing as SVG: enough for a printed page, without a plotting library."""
