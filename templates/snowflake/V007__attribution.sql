-- Gold's attribution, every model of it, instead of the three that SQL could work out by itself.
CREATE TABLE IF NOT EXISTS CUSTOMER_BEHAVIOR.ATTRIBUTION (
  ATTRIBUTION_KEY VARCHAR(32) NOT NULL COMMENT 'Surrogate key: MD5 of level, channel or campaign, and model',
  CREDIT_LEVEL VARCHAR(10) NOT NULL COMMENT 'channel or campaign: what the credit is given to',
  CREDITED_TO VARCHAR(200) NOT NULL COMMENT 'The channel or the campaign id; a channel in brackets where no campaign is known',
  MODEL VARCHAR(20) NOT NULL COMMENT 'first, last, linear, position, time_decay, markov_1 to markov_3, shapley, shapley_rate',
  CAMPAIGN_KEY VARCHAR(32) NOT NULL REFERENCES CUSTOMER_360.DIM_CAMPAIGN (CAMPAIGN_KEY) COMMENT 'The campaign; UNKNOWN for a channel',
  ORDERS FLOAT NOT NULL COMMENT 'Orders credited, parts of them',
  REVENUE FLOAT NOT NULL COMMENT 'Revenue credited, in CURRENCY_CODE; orders in others count without revenue',
  ORDERS_SHARE FLOAT COMMENT 'Of all orders; null where there is none',
  CURRENCY_CODE VARCHAR(3) COMMENT 'ISO 4217: the one of most orders',
  PRIMARY KEY (ATTRIBUTION_KEY)
) COMMENT = 'What channels and campaigns brought, by model: each adds up to all orders';

CREATE OR REPLACE VIEW CUSTOMER_BEHAVIOR.V_ATTRIBUTION COMMENT = 'Orders and revenue that channels and campaigns are credited with by every model, beside what campaigns cost' AS
SELECT
  a.CREDIT_LEVEL,
  CASE WHEN a.CREDIT_LEVEL = 'channel' THEN a.CREDITED_TO END AS CHANNEL_NAME,
  CASE WHEN a.CREDIT_LEVEL = 'campaign' THEN a.CREDITED_TO END AS CAMPAIGN_ID,
  g.CAMPAIGN_NAME,
  a.MODEL,
  a.CURRENCY_CODE,
  a.ORDERS,
  a.REVENUE,
  a.ORDERS_SHARE,
  g.SPENT_AMOUNT,
  (a.REVENUE - g.SPENT_AMOUNT) / NULLIF(g.SPENT_AMOUNT, 0) AS RETURN_ON_SPEND
FROM CUSTOMER_BEHAVIOR.ATTRIBUTION AS a
JOIN CUSTOMER_360.DIM_CAMPAIGN AS g ON g.CAMPAIGN_KEY = a.CAMPAIGN_KEY;
