"""Events from a person's own file: which columns they are."""

from __future__ import annotations

from transforms.io.column_map import Target

TARGETS = (
    Target("visitor", True, ("visitorid", "userid", "user", "customerid", "customer", "clientid", "client", "memberid",
                             "anonymousid", "userpseudoid", "fullvisitorid", "cookieid", "cookie", "deviceid",
                             "kundennummer")),
    Target("event_time", True, ("eventtimestamp", "timestamp", "time", "ts", "datetime", "date", "eventdate",
                                "occurredat", "createdat", "servertime", "clienttimestamp")),
    Target("event_type", False, ("event", "eventname", "type", "action", "eventaction")),
    Target("event_id", False, ("id", "eventuuid", "messageid", "insertid")),
    Target("channel", False, ("platform",)),
    Target("source", False, ("trafficsource", "utmsource", "referrer", "referer", "referrerurl")),
    Target("campaign", False, ("campaignid", "utmcampaign", "campaignname")),
    Target("page", False, ("pageurl", "url", "pagepath", "path", "pagelocation", "screen", "screenname")),
    Target("order_id", False, ("order", "transactionid", "ordernumber", "invoice")),
    Target("value", False, ("amount", "revenue", "price", "total", "totalamount", "ordervalue")),
    Target("tracker_session", False, ("sessionid", "session", "gasessionid", "usersession")),
)  # fmt: skip
