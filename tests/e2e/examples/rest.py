import requests
def get_market_price(symbol):
    url = f"https://api.example.com/v1/market/price/{symbol}"
    headers = {"Authorization": f"Bearer {token}", "X-API-Key": "your-api-key"}
    return requests.get(url, headers=headers).json()
def create_position(symbol, size):
    url = "https://api.example.com/v1/portfolio/positions"
    return requests.post(url, json={"symbol": symbol, "size": size, "type": "long"}, headers=headers).json()
