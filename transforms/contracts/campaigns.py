"""Marketing campaigns and what they cost."""

from transforms.contracts.schema import DATE, Arrival, Column, Contract, Rule, decimal, varchar

CAMPAIGNS = Contract(
    name="MARKETING_CAMPAIGNS",
    system="Marketing_Automation",
    path="customer360/campaigns",
    arrival=Arrival.BATCH,
    key=("CAMPAIGN_ID",),
    columns=(
        Column("CAMPAIGN_ID", varchar(20), nullable=False, standard="code"),
        Column("CAMPAIGN_NAME", varchar(100), standard="text"),
        Column("CAMPAIGN_TYPE", varchar(30), standard="code"),
        Column("START_DATE", DATE),
        Column("END_DATE", DATE),
        Column("BUDGET", decimal(12, 2), low=0),
        Column("SPENT_AMOUNT", decimal(12, 2), low=0),
        Column("TARGET_AUDIENCE", varchar(100), standard="text"),
        Column("CAMPAIGN_STATUS", varchar(20), standard="code"),
        Column("CREATED_BY", varchar(50), personal=True, standard="text"),
    ),
    rules=(
        Rule(
            "campaign_ends_before_start",
            "END_DATE < START_DATE",
            "a campaign ends after it starts",
            ("START_DATE", "END_DATE"),
            action="reject",
        ),
        Rule("overspent", "SPENT_AMOUNT > BUDGET", "spend stays within the budget", ("SPENT_AMOUNT", "BUDGET")),
    ),
    doc="One row a campaign.",
)
