DROP TABLE customer_prices;
DROP TABLE customers;
