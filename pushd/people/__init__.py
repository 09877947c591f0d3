"""Who there is: accounts, who follows whom, and what each user is subscribed to by the server."""
