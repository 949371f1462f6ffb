"""What happens day by day, week by week and month by month; how it goes on, and what is out of the ordinary."""
