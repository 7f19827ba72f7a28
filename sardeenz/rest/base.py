"""What every REST view shares: pagination."""

from rest_framework.pagination import LimitOffsetPagination


class Pagination(LimitOffsetPagination):
    """`?limit=&offset=`; 100 rows unless told, 1000 at most."""

    default_limit = 100
    max_limit = 1000
